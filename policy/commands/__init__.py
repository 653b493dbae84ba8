"""The commands, a file for each part of the way; they hold no logic of their own.

`logs` makes and judges what is learned from, `models` learns and scores, `plans` plans and
evaluates, `loop` does all of it, `service` decides.
"""
