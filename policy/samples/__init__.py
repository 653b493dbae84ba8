"""From decisions, outcome events and feature snapshots to a request log.

`join` is the pure function on frames: `attribution` gives decisions their outcomes, `asof` their
features as they were known, by the `rules` that a person chose. `job` does it for files, by day:
`readers`, `parts`, `source` and `inputs` find the rows of a day, `known` the snapshots of its
users, `day` joins them slice by slice, `put` writes them, `manifest` knows what was made of what.
"""
