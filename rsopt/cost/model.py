"""Cost model of a base: parameters, multiply-adds, sizes and predicted memory of its variants, without weights."""

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
    """Costs of a variant. `params` are those of the merged model, tied weights once; `trainable` is 0 without LoRA.

    GMAC (10^9 multiply-adds, half a GFLOP of a profiler), MB = 10^6 bytes, GB = 10^9 bytes. `memory_gb` holds
    `weights`, `captioning` and, for a variant with LoRA, `training`; the latter two are peaks, weights included.
    """

    params: dict[str, int]
    trainable: int
    gmacs: dict[str, float]
    size_mb: dict[str, float]
    memory_gb: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Returns a plain dict, as `--json` prints it."""
        return asdict(self)


class CostModel:
    """Costs of variants of one base. Layers are counted once; each variant then takes tens of microseconds."""

    def __init__(self, config: Blip2Config) -> None:
        from rsopt.cost.layer_counts import BaseCounts  # torch: `--help` does without

        self._counts = BaseCounts(config)
        self._widths = Widths.of(config, self._counts.image_tokens)
        self.shape = self._counts.shape

    def cost(self, variant: Variant, load: Workload = Workload()) -> Cost:  # noqa: B008 - frozen
        """Returns the cost of `variant` under `load`. Raises UserError for layers that the base does not have.

        Compute is one pass over the image and, for each beam, over all queries and text tokens, with the head at every position.
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
        """Returns the bytes that merging the adapter of `variant` copies."""
        return merged_bytes(self._widths, variant, dtype)

    def trainable(self, variant: Variant) -> int:
        """Returns the trained parameters: adapters and, if it is trained, the projection; 0 without LoRA."""
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
        # transformers keeps them in float32 when it loads float16
        in_float32 = params["qformer"] + params["query_tokens"] if load.dtype == "float16" else 0
        return (params["total"] - in_float32) * BYTES[load.dtype] + in_float32 * 4
