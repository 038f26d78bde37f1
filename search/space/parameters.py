"""The parameters that make a candidate: the values that each may take, and its default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rsopt.core.candidate import BASELINES
from rsopt.core.recipe import CAPTION_TOKENS
from rsopt.core.variant import TARGETS
from search.space.yaml_document import YamlNode, quoted

Value = bool | int | float | str
Kind = Literal["int", "float", "choice", "layers", "fixed"]
KINDS = ("int", "float", "choice", "layers")


@dataclass(frozen=True, slots=True)
class Rule:
    """The values of a parameter. `low` and `high` bound numbers; `words` are its options, empty if they depend on the base."""

    type: Literal["depth", "word", "whole", "number", "flag"]
    default: Value
    low: float = 0.0
    high: float = float("inf")
    low_open: bool = False
    high_open: bool = False
    words: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of range that it may be searched over."""
        return {
            "depth": ("layers", "choice"),
            "word": ("choice",),
            "whole": ("int", "choice"),
            "number": ("int", "float", "choice"),
            "flag": ("choice",),
        }[self.type]

    def value(self, node: YamlNode, name: str) -> Value:
        """Returns the value at a node. Raises UserError for one that this parameter may not take."""
        if self.type == "flag":
            return node.flag(name)
        if self.type == "word":
            word = node.text(name)
            if self.words and word not in self.words:
                raise node.error(f"{name} cannot be {quoted(word)}; allowed: {', '.join(self.words)}")
            return word
        number = node.number(name)
        if self.type == "depth":
            if not (isinstance(number, int) and number >= 1) and not (isinstance(number, float) and 0 < number <= 1):
                raise node.error(f"{name} is a share of the base's depth (0.5, 1.0) or a count of layers (4), not {number}")
            return number
        if self.type == "whole" and not isinstance(number, int):
            raise node.error(f"{name} must be a whole number, not {number}")
        if number < self.low or (self.low_open and number == self.low):
            raise node.error(f"{name} must be {'above' if self.low_open else 'at least'} {self.low:g}, not {number}")
        if number > self.high or (self.high_open and number == self.high):
            raise node.error(f"{name} must be {'below' if self.high_open else 'at most'} {self.high:g}, not {number}")
        return number if self.type == "whole" else float(number)


# The defaults are also the full-depth reference: every attention projection of both components, rank 16, alpha 32.
RULES: dict[str, Rule] = {
    # Another captioner in place of the variant; `none` is a variant of the base, described by all other parameters.
    "baseline": Rule("word", "none", words=("none", *BASELINES)),
    "vision_layers": Rule("depth", 1.0),
    "qformer_layers": Rule("depth", 1.0),  # whole (cross, none) pairs
    "llm_layers": Rule("depth", 1.0),
    # Which layers are dropped first; the rankings depend on the base. This one is about as good as the best (docs/rankings.md)
    # and needs no measurement before a search.
    "ranking": Rule("word", "symmetric"),
    "lora": Rule("word", "both", words=("llm", "qformer", "both")),
    "llm_rank": Rule("whole", 16, low=1),
    "llm_targets": Rule("word", "qkvo", words=TARGETS),
    "qformer_rank": Rule("whole", 16, low=1),
    "qformer_targets": Rule("word", "qkvo", words=TARGETS),
    "alpha_ratio": Rule("number", 2.0, low_open=True),  # alpha = ratio * rank
    "dropout": Rule("number", 0.0, high=1.0, high_open=True),
    "rslora": Rule("flag", False),
    "train_projection": Rule("flag", False),
    "lr": Rule("number", 0.0, low_open=True),  # absolute; 0, the default: lr_factor decides
    "lr_factor": Rule("number", 1.0, low_open=True),  # times the base's reference rate (see search.space.bound_space)
    "epochs": Rule("number", 2.0, low_open=True),
    "batch_images": Rule("whole", 16, low=1),
    "weight_decay": Rule("number", 0.0),
    "warmup_share": Rule("number", 0.05, high=1.0),
    "packed": Rule("flag", True),  # false: steps of batch_images image-caption pairs, as in the original manual study
    "caption_tokens": Rule("whole", CAPTION_TOKENS, low=1),  # longer captions are cut, never above the base's room
    # Weights of the losses that compare with the tuned full depth; the caption loss has weight 1.
    "distill_logits": Rule("number", 0.0),
    "distill_hidden": Rule("number", 0.0),
    "distill_temperature": Rule("number", 1.0, low_open=True),
}
DEPTHS = ("vision_layers", "qformer_layers", "llm_layers")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter as a space states it.

    `values`: lowest and highest for int, float and layers; the options of a choice; the one value of a fixed parameter.
    `when`: an earlier choice, and its values under which this parameter exists.
    """

    name: str
    kind: Kind
    values: tuple[Value, ...]
    node: YamlNode
    log: bool = False
    when: tuple[str, tuple[Value, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """A starting point as a space states it: parameter -> value and its node. Parameters that it leaves out are drawn."""

    values: dict[str, tuple[Value, YamlNode]]
    node: YamlNode


def check_when(parameter: Parameter, earlier: dict[str, Parameter]) -> None:
    """Raises UserError unless the parameter's `when` names an earlier choice (or fixed value) and values that it can take."""
    if parameter.when is None:
        return
    name, values = parameter.when
    if name not in earlier or earlier[name].kind not in ("choice", "fixed"):
        known = [other.name for other in earlier.values() if other.kind in ("choice", "fixed")]
        choices = f"earlier choices: {', '.join(known)}" if known else "there is no choice before it"
        raise parameter.node.error(f"`when` of {parameter.name} must name an earlier choice, not {quoted(name)}; {choices}")
    options = earlier[name].values
    for value in values:
        if earlier[name].kind == "choice" and value not in options:
            allowed = ", ".join(map(str, options))
            raise parameter.node.error(f"`when` of {parameter.name}: {name} is never {quoted(value)}; it is one of {allowed}")
