"""Reads and checks spaces: YAML files with a closed vocabulary that say what is searched."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import spaces as shipped
from rsopt.core.inference import DECODERS, GENERATE
from rsopt.core.objectives import OBJECTIVES, Objective
from rsopt.core.ranking import MEASURED, MeasuredRankings
from rsopt.core.variant import BaseShape
from rsopt.errors import UserError
from search.space.parameters import KINDS, RULES, Parameter, Start, Value, check_when
from search.space.rows import as_choices
from search.space.yaml_document import YamlNode, quoted, read

if TYPE_CHECKING:
    from search.space.bound_space import BoundSpace

_KEYS = ("name", "description", "objectives", "trials", "rungs", "parameters", "starts", "rows", "latency_decoder", "validations")
MOST_VALIDATIONS = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
DEFAULT_TRIALS = 24


@dataclass(frozen=True, slots=True)
class Space:
    """What is searched, before a base is known. `trials` and `rungs` are its defaults; `source` is its file.

    `latency_decoder` is the one that `latency_ms` measures: transformers' generate or this project's beam search.
    `validations` is how often a training computes the validation loss. `rows` are the names of the starts of a space that is a
    fixed list of candidates.
    """

    name: str
    description: str
    objectives: tuple[Objective, ...]
    trials: int
    rungs: tuple[float, ...]
    parameters: tuple[Parameter, ...]
    starts: tuple[Start, ...]
    source: str
    latency_decoder: str = GENERATE
    validations: int = 0
    rows: tuple[str, ...] = ()

    @property
    def needs_measuring(self) -> bool:
        """Whether a candidate may use a ranking that must first be measured on the base and the data."""
        return any(p.name == "ranking" and set(p.values) & set(MEASURED) for p in self.parameters)

    def bind(self, shape: BaseShape, rankings: MeasuredRankings | None = None) -> BoundSpace:
        """Returns the space over a base of this shape, with measured rankings if there are any.

        Raises UserError with file and line for depths or rankings that the base does not have.
        """
        from search.space.bind import bind  # imports Optuna, which loading a space does not need

        bound = bind(self.parameters, self.starts, shape, rankings)
        names: dict[str, str] = {}
        for name, start in zip(self.rows, bound.starts, strict=False):  # on a small base two rows may be one candidate
            key = bound.candidate(start).key
            names[key] = f"{names[key]} = {name}" if key in names else name
        return replace(bound, names=names)


def known_spaces() -> dict[str, Path]:
    """Returns name -> file of the spaces that ship with the project."""
    return {path.stem: path for path in sorted(Path(shipped.__path__[0]).glob("*.yaml"))}


def load_space(name_or_path: str | Path) -> Space:
    """Loads a shipped space by name, or any file ending in .yaml or .yml. Raises UserError, in one line, for any error in it."""
    known, text = known_spaces(), str(name_or_path)
    if text in known:
        return _space(read(known[text]))
    if text.endswith((".yaml", ".yml")):
        return _space(read(Path(text)))
    raise UserError(f"unknown space {quoted(text)}; known: {', '.join(known)}, or a path ending in .yaml")


def _space(root: YamlNode) -> Space:
    keys = root.mapping("a space", _KEYS)
    for key in ("name", "objectives", "parameters"):
        if key not in keys:
            raise root.error(f"a space needs '{key}'")
    name = keys["name"].text("name")
    if not _NAME.fullmatch(name):
        raise keys["name"].error(f"name must be letters, digits, - and _ (at most 64), not {quoted(name)}")
    if {"rows", "starts"} <= keys.keys():
        raise keys["starts"].error("rows are all there is to try: starts are for a space that is searched")
    parameters, rows = _parameters(keys["parameters"], searched="rows" not in keys), tuple[str, ...]()
    starts = tuple(_start(node, parameters) for node in keys["starts"].items("starts")) if "starts" in keys else ()
    if "rows" in keys:
        parameters, starts, rows = as_choices(keys["rows"], parameters)
    return Space(
        name=name,
        description=" ".join(keys["description"].text("description").split()) if "description" in keys else "",
        objectives=_objectives(keys["objectives"]),
        trials=_trials(keys["trials"]) if "trials" in keys else len(rows) or DEFAULT_TRIALS,
        rungs=_rungs(keys["rungs"]) if "rungs" in keys else (1.0,),
        parameters=parameters,
        starts=starts,
        source=root.source,
        latency_decoder=_decoder(keys["latency_decoder"]) if "latency_decoder" in keys else GENERATE,
        validations=_validations(keys["validations"]) if "validations" in keys else 0,
        rows=rows,
    )


def _objectives(node: YamlNode) -> tuple[Objective, ...]:
    names = [item.text("an objective") for item in node.items("objectives")]
    for name in names:
        if name not in OBJECTIVES:
            raise node.error(f"unknown objective {quoted(name)}; known: {', '.join(OBJECTIVES)}")
    if len(names) not in (2, 3) or len(set(names)) != len(names):
        raise node.error("objectives must be two or three different ones")
    return tuple(OBJECTIVES[name] for name in names)


def _decoder(node: YamlNode) -> str:
    name = node.text("latency_decoder")
    if name not in DECODERS:
        raise node.error(f"unknown latency_decoder {quoted(name)}; known: {', '.join(DECODERS)}")
    return name


def _validations(node: YamlNode) -> int:
    times = node.number("validations")
    if not isinstance(times, int) or not 0 <= times <= MOST_VALIDATIONS:
        raise node.error(f"validations must be a whole number, 0 to {MOST_VALIDATIONS}, not {times}")
    return times


def _trials(node: YamlNode) -> int:
    trials = node.number("trials")
    if not isinstance(trials, int) or trials < 1:
        raise node.error(f"trials must be a whole number, at least 1, not {trials}")
    return trials


def _rungs(node: YamlNode) -> tuple[float, ...]:
    rungs = tuple(float(item.number("a rung")) for item in node.items("rungs"))
    if not rungs or rungs[-1] != 1 or rungs[0] <= 0 or list(rungs) != sorted(set(rungs)):
        raise node.error("rungs must be ascending shares of the training budget, above 0 and ending in 1.0")
    return rungs


def _parameters(node: YamlNode, searched: bool) -> tuple[Parameter, ...]:
    parameters: dict[str, Parameter] = {}
    for name, value in node.mapping("parameters", RULES).items():
        parameter = _parameter(name, value)
        check_when(parameter, parameters)
        parameters[name] = parameter
    if {"lr", "lr_factor"} <= parameters.keys():
        raise node.error("parameters name lr and lr_factor; one of them decides the learning rate")
    if searched and all(parameter.kind == "fixed" for parameter in parameters.values()):
        raise node.error("parameters must hold at least one that is searched (int, float, choice or layers)")
    return tuple(parameters.values())


def _parameter(name: str, node: YamlNode) -> Parameter:
    rule = RULES[name]
    if not node.is_mapping:
        return Parameter(name, "fixed", (rule.value(node, name),), node)
    keys = node.mapping(name, (*KINDS, "log", "when"))
    kinds = [kind for kind in KINDS if kind in keys]
    if len(kinds) != 1 or kinds[0] not in rule.kinds:
        raise node.error(f"{name} needs exactly one of: {', '.join(rule.kinds)}")
    kind = kinds[0]
    values = tuple(rule.value(item, name) for item in keys[kind].items(f"{kind} of {name}"))
    if kind == "choice":
        if not values or len(set(values)) != len(values):
            raise keys[kind].error(f"choice of {name} must list different values, at least one")
    else:
        _check_range(name, kind, values, keys[kind])
    log = keys["log"].flag(f"log of {name}") if "log" in keys else False
    if log and (kind not in ("int", "float") or values[0] == 0):
        raise keys["log"].error(f"log of {name} needs an int or float range above 0")
    if kind == "int":
        values = tuple(int(value) for value in values)
    return Parameter(name, kind, values, node, log, _when(keys["when"], name) if "when" in keys else None)  # type: ignore[arg-type]


def _check_range(name: str, kind: str, values: tuple[Any, ...], node: YamlNode) -> None:
    if len(values) != 2:
        raise node.error(f"{kind} of {name} must be [lowest, highest]")
    if kind == "int" and any(value != int(value) for value in values):
        raise node.error(f"int of {name} must be whole numbers")
    if values[0] > values[1] and type(values[0]) is type(values[1]):  # a share and a count are compared on binding
        raise node.error(f"{kind} of {name}: the lowest, {values[0]}, is above the highest, {values[1]}")


def _when(node: YamlNode, name: str) -> tuple[str, tuple[Value, ...]]:
    conditions = node.mapping(f"`when` of {name}", RULES)
    if len(conditions) != 1:
        raise node.error(f"`when` of {name} must name exactly one earlier choice, as in {{lora: [llm, both]}}")
    ((choice, values),) = conditions.items()
    options = tuple(RULES[choice].value(item, choice) for item in values.items(f"`when` of {name}"))
    if not options:
        raise values.error(f"`when` of {name} must list at least one value of {choice}")
    return choice, options


def _start(node: YamlNode, parameters: tuple[Parameter, ...]) -> Start:
    searched = [parameter.name for parameter in parameters if parameter.kind != "fixed"]
    values = node.mapping("a starting point", searched).items()
    return Start({name: (RULES[name].value(value, name), value) for name, value in values}, node)
