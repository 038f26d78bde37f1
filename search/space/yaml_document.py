"""A YAML file read with its line numbers, so that every complaint is one line with file and line. Nothing is constructed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import yaml

from rsopt.errors import UserError

_LONGEST = 60  # characters of a wrong word that a message repeats


@dataclass(frozen=True, slots=True)
class YamlNode:
    """A node of the file and where it stands."""

    source: str
    node: yaml.Node

    @property
    def line(self) -> int:
        """Line in the file, from 1."""
        return self.node.start_mark.line + 1

    def error(self, text: str) -> UserError:
        """The error to raise about this node: `file:line: text`, one line."""
        return complaint(self.source, self.line, text)

    @property
    def is_mapping(self) -> bool:
        """Whether it holds keys."""
        return isinstance(self.node, yaml.MappingNode)

    def mapping(self, what: str, allowed: Collection[str] | None = None) -> dict[str, YamlNode]:
        """Key -> value. Raises UserError for what is no mapping, for a key given twice or one that is not allowed."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"{what} must be a mapping (key: value)")
        found: dict[str, YamlNode] = {}
        for key, value in self.node.value:
            node = YamlNode(self.source, key)
            name = node.text(f"a key of {what}")
            if allowed is not None and name not in allowed:
                raise node.error(f"unknown key {quoted(name)} in {what}; allowed: {', '.join(allowed)}")
            if name in found:
                raise node.error(f"key {quoted(name)} is given twice in {what}")
            found[name] = YamlNode(self.source, value)
        return found

    def items(self, what: str) -> list[YamlNode]:
        """The members of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(f"{what} must be a list in [ ]")
        return [YamlNode(self.source, item) for item in self.node.value]

    def text(self, what: str) -> str:
        """A scalar as it is written."""
        if not isinstance(self.node, yaml.ScalarNode):
            raise self.error(f"{what} must be a single value")
        return str(self.node.value)

    def flag(self, what: str) -> bool:
        """`true` or `false`."""
        word = self.text(what)
        if word.lower() not in ("true", "false"):
            raise self.error(f"{what} must be true or false, not {quoted(word)}")
        return word.lower() == "true"

    def number(self, what: str) -> int | float:
        """An int where it is written as one, else a float: `3`, `0.5`, `2e-4` or a fraction such as `1/3`."""
        word = self.text(what)
        for kind in (int, float, Fraction):
            try:
                return kind(word) if kind is int else _finite(kind(word))
            except (ValueError, ZeroDivisionError, OverflowError):
                continue
        raise self.error(f"{what} must be a finite number, not {quoted(word)}")


def read(path: Path) -> YamlNode:
    """The root of a YAML file. Raises UserError, one line with file and line, for what is no single YAML document."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise complaint(str(path), 1, f"is not UTF-8 text ({error.reason})") from error
    except OSError as error:
        raise UserError(" ".join(f"cannot read {path}: {error.strerror}".split())) from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise complaint(str(path), line, f"is not YAML: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise complaint(str(path), line, f"is not YAML: {error.reason}") from error
    except RecursionError as error:
        raise complaint(str(path), 1, "is nested too deeply") from error
    if root is None:
        raise complaint(str(path), 1, "is empty")
    return YamlNode(str(path), root)


def complaint(source: str, line: int, text: str) -> UserError:
    """`source:line: text` in one line, whatever the parts hold."""
    return UserError(" ".join(f"{source}:{line}: {text}".split()))


def quoted(word: object) -> str:
    """A wrong word as a message repeats it: quoted, printable and not long."""
    text = str(word)
    return ascii(text if len(text) <= _LONGEST else text[:_LONGEST] + "...")


def _finite(value: float | Fraction) -> float:
    number = float(value)
    if number - number != 0:  # inf and nan
        raise ValueError(value)
    return number
