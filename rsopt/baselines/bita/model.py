"""BITA (Yang, Li and Zhang, 2312.01191): CLIP, an Interactive Fourier Transformer, and a frozen OPT that reads its queries.

It is a BLIP-2 with another tower and another Q-Former, so the code that captions, trains and times variants of BLIP-2 also does
so with BITA.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2QFormerConfig, CLIPVisionConfig, OPTConfig

from rsopt.baselines.bita.fourier_transformer import FourierTransformer
from rsopt.baselines.vision_towers import clip, clip_config, load_tower
from rsopt.model.base import Base
from rsopt.model.configs import check_positions, shape_of

WEIGHTS = "bita.safetensors"


class BitaConfig(Blip2Config):
    """Blip2Config with CLIP's tower; `qformer_config` describes the Fourier transformer.

    `tune_language_model`: whether the last stage tunes it too, which only the tiny size does. The paper's stays frozen, but
    one of a million parameters knows a single style, and no prefix moves it to another one (docs/baselines.md).
    """

    model_type = "bita"
    sub_configs_defaults = {**Blip2Config.sub_configs_defaults, "vision_config": CLIPVisionConfig}  # noqa: RUF012 - transformers'
    tune_language_model: bool = False


class Bita(Blip2ForConditionalGeneration):
    """The captioner as in its last stage: the tower is frozen; queries, Fourier transformer and projection are trained."""

    config: BitaConfig

    def __init__(self, config: BitaConfig) -> None:
        super(Blip2ForConditionalGeneration, self).__init__(config)  # skips the parent's, which would build BLIP-2's parts
        from transformers import OPTForCausalLM

        width = config.qformer_config.hidden_size
        self.vision_model = clip(config.vision_config)
        self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_tokens, width))
        self.qformer = FourierTransformer(config.qformer_config)
        self.language_projection = nn.Linear(width, config.text_config.hidden_size)
        self.language_model = OPTForCausalLM(config.text_config)
        self.vision_model.requires_grad_(False)
        self.language_model.requires_grad_(config.tune_language_model)

    def trained(self) -> dict[str, nn.Parameter]:
        """Trained parameters, which are also saved, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def bridge(self) -> dict[str, nn.Parameter]:
        """Trained parameters before the language model, for stages in which that is frozen."""
        return {name: p for name, p in self.trained().items() if not name.startswith("language_model.")}


def bita_config(tiny: bool, text_config: OPTConfig, image_token: int) -> BitaConfig:
    """The configuration of the paper's size, or a tiny one, with a language model of `text_config`."""
    qformer = {"num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    if tiny:
        qformer = {"num_hidden_layers": 4, "hidden_size": 96, "intermediate_size": 384, "num_attention_heads": 4}
    config = BitaConfig(
        vision_config=clip_config(tiny).to_dict(),
        qformer_config=Blip2QFormerConfig(
            **qformer, cross_attention_frequency=1, hidden_dropout_prob=0.0 if tiny else 0.1
        ).to_dict(),
        text_config=text_config.to_dict(),
        num_query_tokens=16 if tiny else 32,
        image_token_index=image_token,
        tune_language_model=tiny,
    )
    check_positions("the language model that BITA takes from the base", config)
    return config


def bita_base(base: Base, tiny: bool, seed: int, tower: str | None = None) -> Base:
    """BITA with the base's language model, as a Base, untrained.

    The base is not altered: a language model that is tuned is a copy. `tower` is the source of the paper's CLIP, None for the
    tiny one.
    """
    config = bita_config(tiny, base.model.config.text_config, base.model.config.image_token_index)
    with torch.device("meta"):
        model = Bita(config)
    model.language_model = base.model.language_model
    if config.tune_language_model:
        model.language_model = deepcopy(base.model.language_model).requires_grad_(True)
    model.vision_model = load_tower("clip", tower).to(base.device, base.model.dtype)
    width = config.qformer_config.hidden_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.qformer = FourierTransformer(config.qformer_config)
        model.language_projection = nn.Linear(width, config.text_config.hidden_size)
        model.query_tokens = nn.Parameter(torch.randn(1, config.num_query_tokens, width) * 0.02)
    model = model.to(base.device).eval()
    return replace(base, name=f"bita over {base.name}", model=model, shape=shape_of(config))


def write_bita(model: Bita, folder: Path) -> None:
    """Writes the trained weights; tower and language model come from their own sources."""
    save_file({name: p.detach().cpu().contiguous() for name, p in model.trained().items()}, folder / WEIGHTS)


def read_bita(model: Bita, folder: Path) -> None:
    """Inverse of `write_bita`, in place. Raises ValueError for weights of another model."""
    tensors, parameters = load_file(folder / WEIGHTS), model.trained()
    if tensors.keys() != parameters.keys():
        raise ValueError(f"{folder / WEIGHTS} is not of this BITA")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def image_features(model: Bita, features: Tensor) -> Tensor:
    """Outputs of the queries (B, queries, width) from those of the tower (B, places, vision width)."""
    queries = model.query_tokens.expand(len(features), -1, -1)
    return model.qformer(queries, features).last_hidden_state
