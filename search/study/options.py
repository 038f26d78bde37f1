"""Command-line options of studies, each declared once: in the types of Settings' fields, or here where commands share it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_type_hints

from rsopt.cli import Parser, whole

SHARED: dict[str, dict[str, Any]] = {
    "storage": {
        "help": "folder of the studies, or for most commands s3://BUCKET/PREFIX (default: %(default)s)",
        "default": "runs",
        "metavar": "DIR",
    },
    "workers": {
        "help": "workers, each running one leg at a time (default: one for each core, or for each GPU share)",
        "type": whole(1),
        "metavar": "N",
    },
    "address": {"help": "Ray cluster to join, such as auto (default: $RAY_ADDRESS, else start a local one)", "metavar": "A"},
}


@dataclass(frozen=True, slots=True)
class Option:
    """A command-line option. `group` is its title in --help; `resumable` says whether a resumed study may change it."""

    group: str
    flag: str
    resumable: bool
    argument: Mapping[str, Any]  # of ArgumentParser.add_argument


def option(group: str, help: str, *, flag: str = "", resumable: bool = False, **argument: Any) -> Option:
    """The option of a dataclass field, written in its type: `Annotated[int, option(...)]`. `flag` is by default --field."""
    return Option(group, flag, resumable, {"help": help, **argument})


def options_of(settings: type) -> dict[str, Option]:
    """The options of a dataclass by the names of its fields."""
    hints = get_type_hints(settings, include_extras=True).items()
    declared = {name: hint.__metadata__[0] for name, hint in hints if hasattr(hint, "__metadata__")}
    return {name: replace(o, flag=o.flag or f"--{name.replace('_', '-')}") for name, o in declared.items()}


def add_options(parser: Parser, settings: type) -> dict[str, Any]:
    """Add the options of a dataclass to a parser. Returns the groups of arguments by title."""
    groups: dict[str, Any] = {}
    for name, o in options_of(settings).items():
        if o.group not in groups:
            groups[o.group] = parser.add_argument_group(o.group)
        groups[o.group].add_argument(o.flag, dest=name, **o.argument)
    return groups


def add_study_options(parser: Parser, *names: str) -> None:
    """Add --name and --storage of an existing study, and the shared options of these names."""
    parser.add_argument("--name", required=True, metavar="S", help="name of the study")
    for name in ("storage", *names):
        parser.add_argument(f"--{name}", **SHARED[name])
