"""The batch jobs on a Spark cluster: the same functions on executors, the same numbers."""
