"""UserError: what a person can put right. Commands print it in one line and exit 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class UserError(ValueError):
    """Wrong usage or bad input. The message is one line: what is wrong, where, and what is allowed."""


class Parser(argparse.ArgumentParser):
    """Wrong options become a UserError too: one line, without the usage that argparse prints before it."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse."""
        raise UserError(f"{message} (see --help)")


def command(main: Callable[[list[str] | None], int], argv: list[str] | None = None) -> int:
    """Run a command's `main(argv)` and return its exit code: its own, 2 for a UserError, 130 for Ctrl-C.

    A UserError becomes one `error: ...` line on stderr. Anything else is a fault of ours and keeps its traceback.
    """
    try:
        return main(argv)
    except UserError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return EXIT_USAGE
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
