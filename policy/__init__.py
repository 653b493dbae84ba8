"""Decisions under a QPS budget: plan them, turn the plan into a rule, bundle it.

Names are loaded on first use, so that a service imports only what it decides with.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
