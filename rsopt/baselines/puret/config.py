"""PureT's configuration: the paper's size, which is the default, and the tiny one."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig, SwinConfig

from rsopt.baselines.vision_towers import swin_config


class PureTConfig(PretrainedConfig):
    """Sizes of PureT (2203.15350). `vocab_size` rows of words: 0 begins, ends and pads a caption, the last one is unknown.

    `words` are the ones between, if they are known. The image is a grid of `grid` x `grid` places in square windows of side
    `window`; every second encoder layer shifts its windows by half of that.
    """

    model_type = "puret"
    vision_config: SwinConfig
    sub_configs = {"vision_config": SwinConfig}  # noqa: RUF012 - transformers'

    def __init__(
        self,
        vision_config: dict[str, Any] | SwinConfig | None = None,
        vocab_size: int = 9488,
        words: list[str] | None = None,
        hidden_size: int = 512,
        num_attention_heads: int = 8,
        inner_size: int = 2048,
        encoder_layers: int = 3,
        num_hidden_layers: int = 3,
        grid: int = 12,
        window: int = 6,
        max_positions: int = 100,
        dropout: float = 0.1,
        celu_alpha: float = 1.3,
        **kwargs: Any,
    ) -> None:
        if isinstance(vision_config, dict):
            vision_config = SwinConfig(**vision_config)
        self.vision_config = vision_config or swin_config(tiny=False)
        self.vocab_size, self.hidden_size, self.num_attention_heads = vocab_size, hidden_size, num_attention_heads
        self.inner_size, self.encoder_layers, self.num_hidden_layers = inner_size, encoder_layers, num_hidden_layers
        self.words = words
        self.grid, self.window, self.max_positions = grid, window, max_positions
        self.dropout, self.celu_alpha = dropout, celu_alpha
        if grid % window:
            raise ValueError(f"a grid of {grid} does not consist of windows of {window}")
        ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "tie_word_embeddings": False}
        super().__init__(**{**ends, **kwargs})


def puret_config(tiny: bool, vocab_size: int, words: list[str] | None = None) -> PureTConfig:
    """The configuration of the paper's size, or one that trains in minutes on one core."""
    if not tiny:
        return PureTConfig(vocab_size=vocab_size, words=words)
    return PureTConfig(
        vision_config=swin_config(tiny=True),
        vocab_size=vocab_size,
        words=words,
        hidden_size=128,
        num_attention_heads=4,
        inner_size=384,
        encoder_layers=3,
        num_hidden_layers=3,
        grid=8,
        window=4,
    )
