"""From decisions, outcome events and feature snapshots to a request log.

`join` is the pure function on frames; `attribution` gives decisions their outcomes, `asof` their
features as they were known; `rules` is what a person may choose.
"""
