"""A durable log of decisions: what was decided, with what probability, on which features.

`segment` is the format, `writer` the log that a service appends to, `archive` turns sealed segments
into Parquet, `archiver` does so beside a service; `policy.samples` joins what happened afterwards.
"""
