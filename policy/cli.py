"""The command line: errors become one sentence, and the commands are found."""

import os
import sys

import typer

from policy.commands import logs, loop, models, plans, service  # noqa: F401  (they register)
from policy.commands.app import app
from policy.console import fail
from uplift.errors import InputError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; bad input ends in one sentence and exit code 2."""
    # Threads that spin while they wait make every other process on the machine crawl.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = app(standalone_mode=False)
    except InputError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or 'a file'}: {error.strerror or error}.")
    except typer.Exit as stop:
        code = stop.exit_code
    except typer.Abort:
        fail("stopped.")
    except Exception as error:
        if not hasattr(error, "format_message"):  # not a usage error of the command line
            raise
        fail(error.format_message())
    sys.exit(code or 0)
