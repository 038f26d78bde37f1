"""LoRA targets: which linear modules of a layer each of them adapts. Every pattern and count follows from these tables."""

from __future__ import annotations

LORA_TARGETS: dict[str, frozenset[str]] = {  # target -> roles of the adapted modules
    "qk": frozenset({"query", "key"}),
    "qkv": frozenset({"query", "key", "value"}),
    "qkvo": frozenset({"query", "key", "value", "output"}),
    "mlp": frozenset({"up", "down"}),
    "all_linear": frozenset({"query", "key", "value", "output", "up", "down"}),
}

# Component -> role -> names inside one layer. The LLM's lm_head is tied to its embeddings and never a target: merging would
# alter both.
_MODULES: dict[str, dict[str, tuple[str, ...]]] = {
    "llm": {
        "query": ("self_attn.q_proj",),
        "key": ("self_attn.k_proj",),
        "value": ("self_attn.v_proj",),
        "output": ("self_attn.out_proj",),
        "up": ("fc1",),
        "down": ("fc2",),
    },
    "qformer": {
        "query": ("attention.attention.query", "crossattention.attention.query"),
        "key": ("attention.attention.key", "crossattention.attention.key"),
        "value": ("attention.attention.value", "crossattention.attention.value"),
        "output": ("attention.output.dense", "crossattention.output.dense"),
        "up": ("intermediate_query.dense",),
        "down": ("output_query.dense",),
    },
}


def adapted_modules(component: str, target: str) -> list[str]:
    """Names inside one layer of `component` (`llm` or `qformer`) of the linear modules that `target` adapts.

    Q-Former layers without cross-attention lack those below `crossattention`.
    """
    roles = LORA_TARGETS[target]
    return [name for role, names in _MODULES[component].items() if role in roles for name in names]
