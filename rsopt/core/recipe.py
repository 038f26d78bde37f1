"""Recipe: how a variant is tuned. No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass

CAPTION_TOKENS = 64  # of a caption that are learned, twice what people write about a picture


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a variant is tuned. One epoch uses every distinct caption of every training image once, weighted by its repetitions.

    If `packed` is false, a step takes `batch_images` image-caption pairs, and a caption occurs as often as the data repeats it.
    A caption longer than `caption_tokens`, which count its own tokens without start and end, is cut there.
    `distill_logits` and `distill_hidden` are the weights of the teacher's terms in the loss, 0 for none.
    """

    lr: float = 3e-4
    epochs: float = 1.0
    batch_images: int = 16
    weight_decay: float = 0.0
    warmup_share: float = 0.05
    max_grad_norm: float = 1.0
    packed: bool = True
    distill_logits: float = 0.0
    distill_hidden: float = 0.0
    distill_temperature: float = 1.0
    caption_tokens: int = CAPTION_TOKENS

    def __post_init__(self) -> None:
        if not self.lr > 0 or not self.epochs > 0 or self.batch_images < 1:
            raise ValueError(f"lr and epochs must be above 0 and batch_images at least 1: {asdict(self)}")
        if not 0 <= self.warmup_share <= 1 or self.weight_decay < 0 or not self.max_grad_norm > 0:
            raise ValueError(f"warmup_share is in [0, 1], weight_decay at least 0, max_grad_norm above 0: {asdict(self)}")
        if min(self.distill_logits, self.distill_hidden) < 0 or not self.distill_temperature > 0:
            raise ValueError(f"weights of distillation are at least 0, its temperature above 0: {asdict(self)}")
        if self.caption_tokens < 1:
            raise ValueError(f"caption_tokens must be at least 1: {asdict(self)}")

    @property
    def distills(self) -> bool:
        """Whether the loss has a term of a teacher."""
        return self.distill_logits > 0 or self.distill_hidden > 0

    @property
    def description(self) -> str:
        """For people, such as `lr 0.003, 3 epochs, 8 images a step`."""
        unit = "images" if self.packed else "image-caption pairs"
        text = f"lr {self.lr:.3g}, {self.epochs:g} epochs, {self.batch_images} {unit} a step"
        if self.caption_tokens != CAPTION_TOKENS:
            text += f", captions cut at {self.caption_tokens} tokens"
        taught = [f"{n} {w:g}" for n, w in (("logits", self.distill_logits), ("hidden", self.distill_hidden)) if w > 0]
        return f"{text}, taught by the full depth ({', '.join(taught)})" if taught else text
