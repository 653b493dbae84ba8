"""The one exception for bad input."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Bad input, told in one sentence: what was found, what was expected, how to mend it.

    The command line prints the sentence and exits with 2; nothing else of the project raises it.
    """
