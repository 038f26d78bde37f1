"""Rows: a space that is a fixed list of named candidates, each plain values in node of ranges."""

from __future__ import annotations

from collections.abc import Sequence

from search.space.parameters import RULES, Parameter, Start, Value
from search.space.yaml_document import YamlNode, quoted

LONGEST = 60  # characters of a row's name: it becomes a run's name and a cell of tables


def as_choices(
    node: YamlNode, parameters: Sequence[Parameter]
) -> tuple[tuple[Parameter, ...], tuple[Start, ...], tuple[str, ...]]:
    """The listed rows as starting points with their names, over parameters that are choices among the rows' values.

    What a row leaves out is as the space's plain `parameters` fix it, else by default. Raises UserError for what is wrong in it.
    """
    if searched := [p for p in parameters if p.kind != "fixed"]:
        raise searched[0].node.error(f"{searched[0].name}: beside rows, parameters are plain values and not searched")
    rows: list[tuple[str, dict[str, tuple[Value, YamlNode]], YamlNode]] = []
    for item in node.items("rows"):
        given = item.mapping("a row", ("name", *RULES))
        if "name" not in given:
            raise item.error("a row needs a name")
        name = given.pop("name").text("name of a row")
        if not name.isprintable() or not 0 < len(name) <= LONGEST:
            raise item.error(f"name of a row must be 1 to {LONGEST} printable characters, not {quoted(name)}")
        if name in [other for other, _, _ in rows]:
            raise item.error(f"row {quoted(name)} is given twice")
        rows.append((name, {key: (RULES[key].value(value, key), value) for key, value in given.items()}, item))
    if not rows:
        raise node.error("rows must list at least one")
    fixed = {p.name: p for p in parameters}
    varied = [name for name in RULES if any(name in values for _, values, _ in rows)]
    defaults = {name: fixed[name].values[0] if name in fixed else RULES[name].default for name in varied}
    starts = tuple(
        Start({name: values.get(name, (defaults[name], item)) for name in varied}, item) for _, values, item in rows
    )
    choices = []
    for name in varied:
        options = tuple(dict.fromkeys(start.values[name][0] for start in starts))
        at = fixed[name].node if name in fixed else node
        choices.append(Parameter(name, "choice", options, at))
    kept = (p for p in parameters if p.name not in varied)
    return (*kept, *choices), starts, tuple(name for name, _, _ in rows)
