"""PureT (Wang, Xu and Sun, 2203.15350): Swin, a refining encoder and a decoder; a model that transformers can generate with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from rsopt.baselines.puret.config import PureTConfig
from rsopt.baselines.puret.decoder import Decoder
from rsopt.baselines.puret.encoder import Refiner
from rsopt.baselines.vision_towers import swin


class PureT(PreTrainedModel, GenerationMixin):
    """The whole captioner. Swin and the table of positions are frozen, all else is trained."""

    config_class = PureTConfig
    config: PureTConfig
    main_input_name = "input_ids"
    _supports_sdpa = True

    def __init__(self, config: PureTConfig) -> None:
        super().__init__(config)
        self.vision_model = swin(config.vision_config)
        self.refiner = Refiner(config)
        self.decoder = Decoder(config)
        self.post_init()
        self.vision_model.requires_grad_(False)

    def _init_weights(self, module: nn.Module) -> None:
        """As torch made them, except that the bias by position starts small; Swin's own weights are loaded."""

    def look(self, features: Tensor) -> dict[str, Tensor]:
        """What the decoder needs of images, given Swin's grids (B, places, vision width): once an image."""
        refined = self.refiner(features)
        keys, values = self.decoder.image_keys_values(refined)
        return {"whole": refined[:, -1:], "keys": keys, "values": values}

    def forward(
        self,
        input_ids: Tensor,
        whole: Tensor,
        keys: Tensor,
        values: Tensor,
        past_key_values: Cache | None = None,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (B, L, words) of words (B, L) behind those in the cache, over what `look` gave of their images.

        `attention_mask` is there because `generate` insists on one; captions have no padding in front.
        """
        logits = self.decoder(input_ids, whole, keys, values, past_key_values)
        return CausalLMOutputWithPast(logits=logits, past_key_values=past_key_values)

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, past_key_values: Cache | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """One new word a step, behind the cache. Called by `generate`."""
        if past_key_values is not None and past_key_values.get_seq_length() > 0:
            input_ids = input_ids[:, -1:]
        image = {name: kwargs[name] for name in ("whole", "keys", "values")}
        return {"input_ids": input_ids, "past_key_values": past_key_values, **image}

    def captioned(self, features: Tensor, beams: int, most: int, least: int = 0, samples: int = 0) -> Tensor:
        """Words of captions of images given Swin's grids: see `said`."""
        return self.said(self.look(features), beams, most, least, samples)

    def said(self, image: dict[str, Tensor], beams: int, most: int, least: int = 0, samples: int = 0) -> Tensor:
        """Words of captions, (B, at most `most`), 0 from the end on; `image` is what `look` gave. The unknown word is never said.

        Beam search, greedy with one beam, or, with `samples`, so many drawn captions an image, (B * samples, ...).
        """
        drawn = {"do_sample": True, "top_k": 0, "num_return_sequences": samples} if samples else {"do_sample": False}
        unknown = self.config.vocab_size - 1
        whole = image["whole"]
        start = torch.zeros(len(whole), 1, dtype=torch.long, device=whole.device)
        ids = self.generate(
            start,
            attention_mask=torch.ones_like(start),
            **image,
            **drawn,
            num_beams=beams,
            max_new_tokens=most,
            min_new_tokens=least or None,
            suppress_tokens=[unknown],
            pad_token_id=unknown,  # never said, so that it is told from the end token, which also begins a caption
            use_cache=True,
        )[:, 1:]
        return ids.masked_fill(ids == unknown, 0)
