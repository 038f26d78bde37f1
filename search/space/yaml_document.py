"""Reads YAML with line numbers, so that every error is one line with file and line. No Python objects are constructed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import yaml

from rsopt.errors import UserError

_LONGEST = 60  # characters of a wrong word that a message quotes


@dataclass(frozen=True, slots=True)
class YamlNode:
    """A node of a file."""

    source: str
    node: yaml.Node

    @property
    def line(self) -> int:
        """Line in the file, from 1."""
        return self.node.start_mark.line + 1

    def error(self, text: str) -> UserError:
        """Returns the error to raise about this node: `file:line: text`, one line."""
        return error_at(self.source, self.line, text)

    @property
    def is_mapping(self) -> bool:
        """Whether it is a mapping."""
        return isinstance(self.node, yaml.MappingNode)

    def mapping(self, what: str, allowed: Collection[str] | None = None) -> dict[str, YamlNode]:
        """Returns key -> value. Raises UserError if it is no mapping, or if a key is repeated or not allowed."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"{what} must be a mapping (key: value)")
        values: dict[str, YamlNode] = {}
        for key, value in self.node.value:
            node = YamlNode(self.source, key)
            name = node.text(f"a key of {what}")
            if allowed is not None and name not in allowed:
                raise node.error(f"unknown key {quoted(name)} in {what}; allowed: {', '.join(allowed)}")
            if name in values:
                raise node.error(f"key {quoted(name)} is given twice in {what}")
            values[name] = YamlNode(self.source, value)
        return values

    def items(self, what: str) -> list[YamlNode]:
        """Returns the items of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(f"{what} must be a list in [ ]")
        return [YamlNode(self.source, item) for item in self.node.value]

    def text(self, what: str) -> str:
        """Returns a scalar as it is written."""
        if not isinstance(self.node, yaml.ScalarNode):
            raise self.error(f"{what} must be a single value")
        return str(self.node.value)

    def flag(self, what: str) -> bool:
        """Returns true or false."""
        word = self.text(what)
        if word.lower() not in ("true", "false"):
            raise self.error(f"{what} must be true or false, not {quoted(word)}")
        return word.lower() == "true"

    def number(self, what: str) -> int | float:
        """Returns an int if it is written as one, else a float: `3`, `0.5`, `2e-4` or a fraction such as `1/3`."""
        word = self.text(what)
        for kind in (int, float, Fraction):
            try:
                return kind(word) if kind is int else _finite(kind(word))
            except (ValueError, ZeroDivisionError, OverflowError):
                continue
        raise self.error(f"{what} must be a finite number, not {quoted(word)}")


def read(path: Path) -> YamlNode:
    """Returns the root of a YAML file. Raises UserError, one line with file and line, if it is not a single YAML document."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise error_at(str(path), 1, f"is not UTF-8 text ({error.reason})") from error
    except OSError as error:
        raise UserError(" ".join(f"cannot read {path}: {error.strerror}".split())) from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise error_at(str(path), line, f"is not YAML: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise error_at(str(path), line, f"is not YAML: {error.reason}") from error
    except RecursionError as error:
        raise error_at(str(path), 1, "is nested too deeply") from error
    if root is None:
        raise error_at(str(path), 1, "is empty")
    return YamlNode(str(path), root)


def error_at(source: str, line: int, text: str) -> UserError:
    """Returns a UserError of one line: `source:line: text`."""
    return UserError(" ".join(f"{source}:{line}: {text}".split()))


def quoted(word: object) -> str:
    """Returns a wrong word for a message: quoted, printable and shortened."""
    text = str(word)
    return ascii(text if len(text) <= _LONGEST else text[:_LONGEST] + "...")


def _finite(value: float | Fraction) -> float:
    number = float(value)
    if number - number != 0:  # inf and nan
        raise ValueError(value)
    return number
