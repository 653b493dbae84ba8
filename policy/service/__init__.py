"""The engine over HTTP: decisions, outcomes, health, metrics, reload.

`bodies` is what is said in and out, `app` who answers what, `openapi` the page made from both,
`problems` how a refusal looks, `metrics` what is counted, `server` the process around it.
"""
