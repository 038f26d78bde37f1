"""Reads a space that is a fixed list of named candidates (rows): plain values in place of ranges."""

from __future__ import annotations

from collections.abc import Sequence

from search.space.parameters import RULES, Parameter, Start, Value
from search.space.yaml_document import YamlNode, quoted

LONGEST = 60  # characters of a row's name, which is also a run's name and a cell of tables


def as_choices(
    node: YamlNode, parameters: Sequence[Parameter]
) -> tuple[tuple[Parameter, ...], tuple[Start, ...], tuple[str, ...]]:
    """Returns parameters that are choices among the rows' values, the rows as starting points, and their names.

    Parameters that a row leaves out take the space's fixed values, else defaults. Raises UserError for any error in the rows.
    """
    if searched := [p for p in parameters if p.kind != "fixed"]:
        raise searched[0].node.error(f"{searched[0].name}: with rows, parameters are plain values and not searched")
    rows: list[tuple[str, dict[str, tuple[Value, YamlNode]], YamlNode]] = []
    for item in node.items("rows"):
        values = item.mapping("a row", ("name", *RULES))
        if "name" not in values:
            raise item.error("a row needs a name")
        name = values.pop("name").text("name of a row")
        if not name.isprintable() or not 0 < len(name) <= LONGEST:
            raise item.error(f"name of a row must be 1 to {LONGEST} printable characters, not {quoted(name)}")
        if name in [other for other, _, _ in rows]:
            raise item.error(f"row {quoted(name)} is given twice")
        rows.append((name, {key: (RULES[key].value(value, key), value) for key, value in values.items()}, item))
    if not rows:
        raise node.error("rows must list at least one")
    fixed = {p.name: p for p in parameters}
    varied = [name for name in RULES if any(name in values for _, values, _ in rows)]
    defaults = {name: fixed[name].values[0] if name in fixed else RULES[name].default for name in varied}
    starts = tuple(Start({name: values.get(name, (defaults[name], item)) for name in varied}, item) for _, values, item in rows)
    choices = []
    for name in varied:
        options = tuple(dict.fromkeys(start.values[name][0] for start in starts))
        choices.append(Parameter(name, "choice", options, fixed[name].node if name in fixed else node))
    constant = (p for p in parameters if p.name not in varied)
    return (*constant, *choices), starts, tuple(name for name, _, _ in rows)
