"""PureT (Wang, Xu and Sun, 2203.15350): Swin, a refining encoder and a decoder, as a transformers model that generates."""

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
from rsopt.core.inference import Generation


class PureT(PreTrainedModel, GenerationMixin):
    """The whole captioner. Swin and the table of positions are frozen, everything else is trained."""

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
        """Leaves the weights as torch initialised them; Swin's are loaded."""

    def encode_image(self, features: Tensor) -> dict[str, Tensor]:
        """Inputs of the decoder that are computed once an image, from Swin's grids (B, places, vision width)."""
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
        """Logits (B, L, words) of words (B, L) that follow those in the cache.

        `whole`, `keys` and `values` come from `encode_image`. `attention_mask` is ignored: `generate` passes one, but captions
        have no padding in front.
        """
        logits = self.decoder(input_ids, whole, keys, values, past_key_values)
        return CausalLMOutputWithPast(logits=logits, past_key_values=past_key_values)

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, past_key_values: Cache | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Inputs of one step: the last word, if the others are in the cache. Called by `generate`."""
        if past_key_values is not None and past_key_values.get_seq_length() > 0:
            input_ids = input_ids[:, -1:]
        image = {name: kwargs[name] for name in ("whole", "keys", "values")}
        return {"input_ids": input_ids, "past_key_values": past_key_values, **image}

    def caption(self, features: Tensor, generation: Generation, samples: int = 0) -> Tensor:
        """Words of captions of images, given Swin's grids (B, places, vision width); see `generate_words`."""
        return self.generate_words(self.encode_image(features), generation, samples)

    def generate_words(self, image: dict[str, Tensor], generation: Generation, samples: int = 0) -> Tensor:
        """Words of captions, (B, new tokens), 0 from the end on, given the output of `encode_image`.

        By beam search; or, if `samples` is not 0, that many sampled captions an image, (B * samples, new tokens). The unknown
        word is never generated.
        """
        sampling = {"do_sample": True, "top_k": 0, "num_return_sequences": samples} if samples else {"do_sample": False}
        unknown = self.config.vocab_size - 1
        whole = image["whole"]
        start = torch.zeros(len(whole), 1, dtype=torch.long, device=whole.device)
        ids = self.generate(
            start,
            attention_mask=torch.ones_like(start),
            **image,
            **sampling,
            num_beams=generation.beams,
            max_new_tokens=generation.max_new_tokens,
            min_new_tokens=generation.min_new_tokens or None,
            suppress_tokens=[unknown],
            pad_token_id=unknown,  # unlike the end token, which also begins a caption, it is never generated
            use_cache=True,
        )[:, 1:]
        return ids.masked_fill(ids == unknown, 0)
