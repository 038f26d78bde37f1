"""Simulates a smaller GPU on a larger one and compares the peak memory of a full-size candidate with the prediction.

python -m benchmarks.card --gb 16 [--base opt-2.7b] [--steps 20]
"""

from __future__ import annotations

import sys
import time

import torch

from rsopt.caption.decoders import caption_features
from rsopt.cli import Parser, command
from rsopt.common.out_of_memory import halve_until_fits
from rsopt.core.inference import BATCH
from rsopt.core.recipe import Recipe
from rsopt.core.variant import LoraPart, LoraSpec, Variant
from rsopt.cost.memory_plan import CONTEXT, TrainingPlan, card_plan, free_bytes, training_plan
from rsopt.cost.model import CostModel
from rsopt.errors import UserError
from rsopt.model.base import best_dtype
from rsopt.model.build import build, merged
from rsopt.model.configs import base_config
from rsopt.model.random_base import random_base
from rsopt.training.synthetic_captions import random_captions
from rsopt.training.trainer import Trainer, TrainingSet

LORA = LoraSpec(LoraPart(16, 32, "all_linear"), LoraPart(16, 32, "all_linear"), train_projection=True)


def main(argv: list[str] | None = None) -> int:
    """Train, caption, print predicted and measured memory; the exit code is 1 if the simulated size was exceeded."""
    p = Parser(prog="python -m benchmarks.card", description=__doc__.splitlines()[0] if __doc__ else None)
    p.add_argument("--base", default="opt-2.7b", help="a base of known configuration; weights are random (default: %(default)s)")
    p.add_argument("--gb", type=float, default=16.0, help="memory of the simulated GPU, GB (default: %(default)s)")
    p.add_argument("--steps", type=int, default=20, help="training steps of 16 images (default: %(default)s)")
    options = p.parse_args(argv)
    if not torch.cuda.is_available():
        raise UserError("torch sees no GPU; python -m rsopt.cost --base opt-2.7b predicts without one")
    device = torch.device("cuda", 0)
    total = torch.cuda.get_device_properties(device).total_memory
    share = (1e9 * options.gb - CONTEXT) / total  # the limit applies to torch's allocator, which does not hold the CUDA context
    if not 0 < share <= 1:
        raise UserError(
            f"--gb {options.gb:g} must be above {CONTEXT / 1e9:g} and at most {total / 1e9:.1f}, the memory of this GPU"
        )
    torch.cuda.set_per_process_memory_fraction(share, device)
    config, dtype, recipe = base_config(options.base), best_dtype(device), Recipe(batch_images=16)
    costs = CostModel(config)
    variant = Variant.full(costs.shape, LORA)
    predicted = card_plan(costs, variant, dtype, recipe.batch_images, 1e9 * options.gb, BATCH["cuda"])
    print(f"{torch.cuda.get_device_name(device)} limited to {options.gb:g} GB; {options.base}, {dtype}, LoRA {LORA}")
    print(f"predicted: {predicted}")
    if predicted.training is None or not predicted.caption_images:
        print("refused: does not fit")
        return 0
    base = random_base(options.base, config, device, dtype)
    images = recipe.batch_images * options.steps
    vision = config.vision_config
    tokens = (vision.image_size // vision.patch_size) ** 2 + 1
    features = torch.randn(images, tokens, vision.hidden_size).to(base.model.dtype)  # on the host, as for large data sets
    data = TrainingSet(features, random_captions(base, images))
    built = build(base, variant)
    free = free_bytes(device)

    def plan_of(tokens: int) -> TrainingPlan:
        return training_plan(costs, variant, dtype, tokens, recipe.batch_images, free)

    trainer = Trainer(built, data, recipe, 0, base.tokenizer.pad_token_id, plan_of)
    plan = plan_of(max(trainer.lengths))
    torch.cuda.reset_peak_memory_stats(device)
    begin = time.perf_counter()
    result = trainer.run(0, 1)
    torch.cuda.synchronize(device)
    seconds = time.perf_counter() - begin
    peak = torch.cuda.max_memory_allocated(device)
    weights = sum(parameter.nbytes for parameter in base.model.parameters())
    print(
        f"training: {plan}; at the end {result.micro_images} images a forward pass; {result.steps} steps, "
        f"loss {result.loss:.3f}, {seconds:.1f} s"
    )
    print(f"peak {peak / 1e9:.2f} GB, predicted {(weights + plan.need) / 1e9:.2f} GB")
    torch.cuda.reset_peak_memory_stats(device)
    plain = merged(built)
    batches: list[int] = []

    def caption(batch: int) -> list[str]:
        batches.append(batch)
        return caption_features(plain, base, features[:64], batch=batch)

    halve_until_fits(BATCH["cuda"], caption)
    reserved = torch.cuda.max_memory_reserved(device)
    print(f"captioning: {batches[-1]} images at once, peak {torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB")
    return 0 if reserved <= share * total else 1


if __name__ == "__main__":
    sys.exit(command(main))
