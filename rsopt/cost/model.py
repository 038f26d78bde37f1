"""TODO."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rsopt.core.variant import Dtype, Variant
from rsopt.cost.memory import BYTES, Widths, Workload, captioning_bytes, merged_bytes, training_bytes
from rsopt.errors import UserError

if TYPE_CHECKING:
    from transformers import Blip2Config


@dataclass(frozen=True, slots=True)
class Cost:
    """What a variant costs. `params` of the merged model, tied weights once; `trainable` is 0 without LoRA.

    GMAC (10^9 multiply-adds, half a GFLOP of a profiler), MB = 10^6 bytes, GB = 10^9 bytes. `memory_gb` holds
    `weights`, `captioning` and, for a variant with LoRA, `training`; the latter two are peaks, weights included.
    """

    params: dict[str, int]
    trainable: int
    gmacs: dict[str, float]
    size_mb: dict[str, float]
    memory_gb: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """A plain dict, as `--json` prints it."""
        return asdict(self)


class CostModel:
    """Costs of variants of one base: counts its layers once, then each variant is arithmetic (tens of microseconds)."""

    def __init__(self, config: Blip2Config) -> None:
        from rsopt.cost.layer_counts import BaseCounts  # torch: `--help` does without

        self._counts = BaseCounts(config)
        self._widths = Widths.of(config, self._counts.image_tokens)
        self.shape = self._counts.shape

    def cost(self, variant: Variant, load: Workload = Workload()) -> Cost:  # noqa: B008 - frozen
        """Cost of `variant` under `load`. Raises UserError for layers that the base does not have.

        Compute is one pass over the image and, for each beam, over all queries and text tokens, head at every position.
        """
        try:
            variant.check(self.shape)
        except ValueError as error:
            raise UserError(str(error)) from error
        params = self._params(variant)
        trainable = self.trainable(variant)
        weights = self._weight_bytes(params, load)
        memory = {"weights": weights, "captioning": weights + captioning_bytes(self._widths, variant, load)}
        if variant.lora is not None:
            memory["training"] = weights + training_bytes(self._widths, variant, trainable, load)
        return Cost(
            params,
            trainable,
            self._gmacs(variant, load),
            {dtype: params["total"] * size / 1e6 for dtype, size in BYTES.items()},
            {name: count / 1e9 for name, count in memory.items()},
        )

    def _params(self, variant: Variant) -> dict[str, int]:
        counts = self._counts
        params = {
            "vision": counts.params["vision"].of(variant.vision_layers),
            "qformer": counts.params["qformer"].of(variant.qformer_layers),
            "projection": counts.projection_params,
            "llm": counts.params["llm"].of(variant.llm_layers),
            "query_tokens": counts.query_params,
        }
        return {**params, "total": sum(params.values())}

    def merged_bytes(self, variant: Variant, dtype: Dtype) -> int:
        """Bytes that merging the adapter of `variant` copies (see rsopt.cost.memory)."""
        return merged_bytes(self._widths, variant, dtype)

    def trainable(self, variant: Variant) -> int:
        """Trained parameters: the adapters and, if asked for, the projection; 0 without LoRA."""
        lora = variant.lora
        if lora is None:
            return 0
        total = self._counts.projection_params if lora.train_projection else 0
        if lora.llm is not None:
            total += lora.llm.rank * self._counts.lora["llm"][lora.llm.targets].of(variant.llm_layers)
        if lora.qformer is not None:
            total += lora.qformer.rank * self._counts.lora["qformer"][lora.qformer.targets].of(variant.qformer_layers)
        return total

    def _gmacs(self, variant: Variant, load: Workload) -> dict[str, float]:
        image, llm = self._counts.image_macs, self._counts.llm_macs(self._widths.queries + load.text_tokens)
        macs = {
            "vision": image["vision"].of(variant.vision_layers),
            "qformer": image["qformer"].of(variant.qformer_layers),
            "projection": image["projection"].fixed,
            "llm": load.beams * llm.of(variant.llm_layers),
        }
        return {name: count / 1e9 for name, count in {**macs, "total": sum(macs.values())}.items()}

    def _weight_bytes(self, params: dict[str, int], load: Workload) -> int:
        # transformers keeps these in float32 when it loads float16
        in_float32 = params["qformer"] + params["query_tokens"] if load.dtype == "float16" else 0
        return (params["total"] - in_float32) * BYTES[load.dtype] + in_float32 * 4


def cost(config: Blip2Config, variant: Variant, load: Workload = Workload()) -> Cost:  # noqa: B008 - frozen
    """Cost of one variant of a base. For many, keep a `CostModel`."""
    return CostModel(config).cost(variant, load)
