"""TODO."""

from __future__ import annotations

import argparse
import errno
import logging
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from rsopt.errors import InfrastructureError, UserError, refusal

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


LONGEST_WORD = 2000  # characters of one option


class Parser(argparse.ArgumentParser):
    """Wrong options become a UserError too: one line, without the usage that argparse prints before it."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuses what no name, path or number holds before anything looks it up. Called by argparse."""
        for word in sys.argv[1:] if args is None else args:
            if len(word) > LONGEST_WORD or any(ord(c) < 32 or ord(c) == 127 for c in word):
                raise UserError(f"an option is too long or holds a control character: {word[:60]!a}")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Called by argparse."""
        raise UserError(f"{message} (see --help)")


def command(main: Callable[[list[str] | None], int], argv: list[str] | None = None) -> int:
    """Run a command's `main(argv)` and return its exit code: its own, 2 for a UserError, 130 for Ctrl-C.

    A UserError becomes one `error: ...` line on stderr, an InfrastructureError and what a disk refuses too, with exit
    code 1. Anything else is a fault of ours and keeps its traceback.
    """
    # Where it is installed, PEFT imports it, and it then tells every process of kernels that it does without.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        return main(argv)
    except UserError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return EXIT_USAGE
    except InfrastructureError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return EXIT_FAILED
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            sys.stderr.write(f"error: a file name is too long: {str(error.filename)[-300:]!a}\n")
            return EXIT_USAGE
        if (refused := refusal(error)) is None:
            raise
        sys.stderr.write(f"error: {' '.join(str(refused).split())}\n")
        return EXIT_FAILED
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
