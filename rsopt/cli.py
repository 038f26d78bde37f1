"""Command lines: the parser, types for numbers, and how an error becomes one line on stderr and an exit code."""

from __future__ import annotations

import argparse
import difflib
import errno
import importlib
import logging
import math
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from rsopt.errors import InfrastructureError, UserError, refusal

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
LONGEST_WORD = 2000  # characters of one option


def from_repository(name: str) -> ModuleType:
    """Import research code, which is in the repository and not in the wheel.

    Raises UserError where only the wheel is installed.
    """
    root = str(Path(__file__).parents[1])  # of a clone, also where it was installed as editable
    if root not in sys.path:
        sys.path.append(root)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if error.name != package:
            raise
        raise UserError(f"this needs the folder {package}/ of the repository, which is not installed: use a clone") from error


class UnknownOptionError(UserError):
    """An `option` that the parser of `prog` does not have."""

    def __init__(self, prog: str, option: str, hint: str) -> None:
        super().__init__(f"{prog} has no option '{option[:60]}'{hint} (see --help)")
        self.prog, self.option = prog, option


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises a UserError of one line, which names the nearest option or choice that exists.

    Its texts write commands as `python -m MODULE`; they are shown as the person called them (see `as_called`). A text
    with line breaks of its own keeps them.
    """

    def __init__(self, **options: Any) -> None:
        if "prog" in options:
            options["prog"] = as_called(options["prog"])
        super().__init__(formatter_class=_Formatter, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown options, and words that no name, path or number contains. Called by argparse."""
        words = sys.argv[1:] if args is None else list(args)
        for word in words:
            if len(word) > LONGEST_WORD or any(ord(c) < 32 or ord(c) == 127 for c in word):
                raise UserError(f"an option is too long or holds a control character: {word[:60]!a}")
        known = self._option_string_actions
        for word in words:
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                break  # the rest is a subcommand's, or is no option
            option = word.partition("=")[0]
            if not word.startswith("--") or " " in option or option in known:
                continue
            if not (self.allow_abbrev and any(name.startswith(option) for name in known)):
                raise UnknownOptionError(self.prog, option, did_you_mean(option, known))
        return super().parse_known_args(words, namespace)

    def format_help(self) -> str:
        """The text of --help."""
        return as_called(super().format_help())

    def error(self, message: str) -> NoReturn:
        """Raise `message` as a UserError. Called by argparse."""
        message = re.sub("^argument ([^:]*): must ", r"\1 must ", message)
        raise UserError(f"{message} (see --help)")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is not one of the choices. Called by argparse."""
        if action.choices is not None and value not in action.choices:
            name = "/".join(action.option_strings) or action.metavar
            known = ", ".join(map(str, action.choices))
            hint = did_you_mean(str(value), action.choices)
            raise UserError(f"{name}: '{str(value)[:60]}' is none of {known}{hint}")


class _Formatter(argparse.HelpFormatter):
    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


def did_you_mean(word: str, known: Iterable[Any]) -> str:
    """A hint that names the nearest known word, such as "; did you mean '--name'?"; empty where none is near."""
    plain = {str(name).strip("-"): name for name in known}
    near = difflib.get_close_matches(word.strip("-"), plain, n=1)
    return f"; did you mean '{plain[near[0]]}'?" if near else ""


def as_called(text: str) -> str:
    """The text with commands as the person called this one: `rsopt front` for `python -m search.front`, or unchanged."""
    if Path(sys.argv[0]).stem != "rsopt":
        return text
    names = {"run": "search", "gpu_check": "gpu-check"}
    command_of = r"python -m (?:search|rsopt)\.(?!baselines)(\w+)"
    return re.sub(command_of, lambda match: f"rsopt {names.get(match[1], match[1])}", text)


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of an option: a whole number of at least `least` and, where it is given, at most `most`."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"must be a whole number, not '{text[:60]}'") from error
        if value < least or (most is not None and value > most):
            bounds = f"at least {least}" if most is None else f"{least} to {most}"
            raise argparse.ArgumentTypeError(f"must be {bounds}, not {value}")
        return value

    return convert


def positive(most: float = math.inf) -> Callable[[str], float]:
    """The type of an option: a finite number above 0 and, where it is given, at most `most`."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"must be a number, not '{text[:60]}'") from error
        if not (0 < value <= most and math.isfinite(value)):
            bounds = "above 0" if most == math.inf else f"above 0 and at most {most:g}"
            raise argparse.ArgumentTypeError(f"must be {bounds}, not {value:g}")
        return value

    return convert


def add_json(parser: Any, what: str = "one JSON object") -> None:
    """Add --json to a parser or to a group of one."""
    parser.add_argument("--json", action="store_true", help=f"print {what} on stdout and nothing else there")


def command(main: Callable[[list[str] | None], int], argv: list[str] | None = None) -> int:
    """Run a command's `main(argv)` and return its exit code: its own, 2 for a UserError, 130 for Ctrl-C.

    A UserError becomes one `error: ...` line on stderr. So does an InfrastructureError or an OSError of the disk, with
    exit code 1. Any other exception is a bug and keeps its traceback.
    """
    # Both are said in every process of a command: of missing kernels, which PEFT's import triggers, and of calls that
    # transformers makes itself.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    try:
        return main(argv)
    except UserError as error:
        return _fail(error, EXIT_USAGE)
    except InfrastructureError as error:
        return _fail(error, EXIT_FAILED)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return _fail(f"a file name is too long: {str(error.filename)[-300:]!a}", EXIT_USAGE)
        if (refused := refusal(error)) is None:
            raise
        return _fail(refused, EXIT_FAILED)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED


def _fail(error: Exception | str, code: int) -> int:
    sys.stderr.write(f"error: {as_called(' '.join(str(error).split()))}\n")
    return code
