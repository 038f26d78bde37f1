"""Configuration of a random BLIP-2 that is small enough for numeric tests."""

from __future__ import annotations

from transformers import Blip2Config, Blip2QFormerConfig, Blip2VisionConfig, OPTConfig


def random_config(llm_layers: int = 4, qformer_layers: int = 6, vision_layers: int = 3, width: int = 32) -> Blip2Config:
    """A BLIP-2 config of small widths."""
    return Blip2Config(
        vision_config=Blip2VisionConfig(
            hidden_size=24,
            intermediate_size=48,
            num_hidden_layers=vision_layers,
            num_attention_heads=2,
            image_size=16,
            patch_size=8,
        ).to_dict(),
        qformer_config=Blip2QFormerConfig(
            vocab_size=10,
            hidden_size=24,
            num_hidden_layers=qformer_layers,
            num_attention_heads=2,
            intermediate_size=48,
            cross_attention_frequency=2,
            encoder_hidden_size=24,
        ).to_dict(),
        text_config=OPTConfig(
            vocab_size=60,
            hidden_size=width,
            word_embed_proj_dim=width,
            ffn_dim=2 * width,
            num_hidden_layers=llm_layers,
            num_attention_heads=2,
            max_position_embeddings=96,
            pad_token_id=1,
            bos_token_id=2,
            eos_token_id=4,
        ).to_dict(),
        num_query_tokens=5,
        image_token_index=59,
    )
