"""What a policy would have earned, from randomised logs alone.

Names are loaded on first use, so that importing the package costs next to nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
