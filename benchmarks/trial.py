"""A whole trial in two ways on the same machine: an expert's plain loop, and this project. Written to docs/benchmarks.md.

Run from the repository root: python -m benchmarks.trial --base tiny|small|opt-2.7b [--random-weights] [--seeds 2].
It needs torch, transformers, peft, safetensors and numpy; `--base tiny` needs the whole project.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.nn import functional

from benchmarks import naive
from benchmarks.gpu_metrics import gpu_facts
from benchmarks.naive import Outcome, run_naive
from benchmarks.report import FILE, measured_by, spread, table, write_section
from benchmarks.trial_inputs import TrialInputs, base_without_dropout, features_of, random_inputs, tiny_inputs
from rsopt.caption.cuda_graph import CapturedDecoder
from rsopt.caption.decoder_check import captured_is_faster
from rsopt.caption.decoders import caption_features, shared_prefix
from rsopt.core.inference import BATCH, Generation
from rsopt.core.recipe import Recipe
from rsopt.core.variant import LoraPart, LoraSpec, Variant
from rsopt.model.base import best_device, best_dtype
from rsopt.model.build import Built, build, merged
from rsopt.model.prefix import query_prefix
from rsopt.training.dataset import TokenCaption
from rsopt.training.trainer import Trainer, TrainingSet

LORA = LoraSpec(LoraPart(16, 32, "all_linear"), LoraPart(16, 32, "all_linear"))
# Images for training and for captioning, new tokens, and epochs, by base.
SIZES = {"tiny": (256, 96, 50, 1.0), "small": (48, 40, 20, 1.0), "opt-2.7b": (2000, 1000, 20, 1.0)}
LOSS_GATE = 1e-3  # relative; on a GPU, where half precision sums in another order, 1e-2


def main() -> int:
    """Measure, print and write; the exit code is 1 if the results of the two ways differ."""
    options = parser().parse_args()
    torch.set_num_threads(options.threads)
    train, evaluated, new_tokens, epochs = SIZES.get(options.base, SIZES["small"])
    device = best_device()
    train, evaluated = options.images or train, options.eval_images or evaluated
    if options.base == "tiny" and not options.random_weights:
        inputs = tiny_inputs(train, evaluated)
    else:
        inputs = random_inputs(base_without_dropout(options.base, device, best_dtype(device)), train, evaluated)
    recipe = Recipe(lr=1e-3, epochs=epochs, batch_images=options.batch_images)
    measured = measure(inputs, recipe, options.new_tokens or new_tokens, options.seeds)
    if device.type == "cuda":
        measured["gpu"] = gpu_facts(inputs, LORA, recipe, measured)
    print(json.dumps(measured))
    write_section(f"trial --base {options.base}", facts(options, inputs, measured), tables(measured), options.out)
    return 0 if measured["gate"] else 1


def parser() -> argparse.ArgumentParser:
    """The command's options; sizes default by base."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--base", default="small", help="tiny, small, opt-2.7b or opt-6.7b (default: %(default)s)")
    p.add_argument("--random-weights", action="store_true", help="random weights and images (always, except for tiny)")
    p.add_argument("--images", type=int, help="training images, five captions each")
    p.add_argument("--eval-images", type=int, help="images captioned with five beams")
    p.add_argument("--batch-images", type=int, default=16, help="images a step (default: %(default)s)")
    p.add_argument("--new-tokens", type=int, help="new tokens of a caption at most")
    p.add_argument("--seeds", type=int, default=2, help="trials in each way (default: %(default)s)")
    p.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch threads (default: %(default)s)")
    p.add_argument("--out", type=Path, default=FILE, help="Markdown file to write (default: docs/benchmarks.md)")
    return p


def measure(inputs: TrialInputs, recipe: Recipe, new_tokens: int, seeds: int) -> dict[str, Any]:
    """Measure whole trials in both ways, in turn, and the training steps between them (`steps_by_mechanism`)."""
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        inputs.base.model.save_pretrained(folder)
        begin = time.perf_counter()
        features = features_of(inputs)
        _synchronize(inputs)
        features_s = time.perf_counter() - begin
        captured = inputs.base.device.type == "cuda" and captured_is_faster(
            inputs.base.model, inputs.base, features[inputs.train :][: BATCH["cuda"]]
        )
        for seed in range(seeds):
            ours = run_ours(inputs, features, recipe, seed, new_tokens, captured)
            theirs = run_naive(inputs, Path(folder), LORA, recipe, seed, new_tokens)
            pairs.append((theirs, ours))
            print(f"seed {seed}: naive {theirs.total:.1f} s, ours {ours.total:.1f} s", file=sys.stderr)
        steps = steps_by_mechanism(inputs, features, recipe)
    gate = 1e-2 if inputs.base.device.type == "cuda" else LOSS_GATE
    differences = [abs(a.loss - b.loss) / abs(a.loss) for a, b in pairs]
    same = [sum(a.captions[i] == text for i, text in b.captions.items()) for a, b in pairs]
    return {
        "captured": captured,
        "features_s": features_s,
        "naive_s": [a.seconds for a, _ in pairs],
        "ours_s": [b.seconds for _, b in pairs],
        "naive_cpu_s": [a.cpu for a, _ in pairs],
        "ours_cpu_s": [b.cpu for _, b in pairs],
        "loss": [(a.loss, b.loss) for a, b in pairs],
        "cider": [(a.cider, b.cider) for a, b in pairs],
        "same_captions": same,
        "captions": inputs.images - inputs.train,
        "ladder_s": steps,
        "gate": max(differences) <= gate,
        "loss_difference": max(differences),
    }


def run_ours(inputs: TrialInputs, features: torch.Tensor, recipe: Recipe, seed: int, new_tokens: int, captured: bool) -> Outcome:
    """Run one trial in a worker that already holds base and features, as all trials of a search after the first.

    Args:
        inputs: the trial's data.
        features: of all images, (images, tokens, width).
        recipe: of the training.
        seed: of the adapter and the order of batches.
        new_tokens: at most in a caption.
        captured: capture decode steps as CUDA graphs.
    """
    base = inputs.base
    out = Outcome(base.device)
    built = build(base, Variant.full(base.shape, LORA), seed)
    data = TrainingSet(features[: inputs.train], inputs.captions)
    trainer = Trainer(built, data, recipe, seed, base.tokenizer.pad_token_id)
    out.lap("build")
    out.loss = trainer.run(0, 1).losses[-1]
    out.lap("train")
    decode = CapturedDecoder() if captured else shared_prefix
    texts = caption_features(merged(built), base, features[inputs.train :], Generation(max_new_tokens=new_tokens), decode=decode)
    out.captions = dict(zip(range(inputs.train, inputs.images), texts, strict=True))
    out.lap("caption")
    if inputs.score:
        out.cider = inputs.score(out.captions)
        out.lap("score")
    return out


def steps_by_mechanism(inputs: TrialInputs, features: torch.Tensor, recipe: Recipe, steps: int = 2) -> dict[str, float]:
    """Seconds of the first training steps with each mechanism added to those before it.

    Wall-clock seconds on a GPU; processor seconds on a CPU, which other processes use too.
    """
    clock = time.perf_counter if inputs.base.device.type == "cuda" else time.process_time
    base, variant = inputs.base, Variant.full(inputs.base.shape, LORA)
    share = steps / max(1, round(recipe.epochs * -(-inputs.train // recipe.batch_images)))
    share = min(1.0, share)

    def packed(captions: list[list[TokenCaption]], fused: bool) -> Callable[[], object]:
        data = TrainingSet(features[: inputs.train], captions)
        trainer = Trainer(build(base, variant), data, recipe, 0, base.tokenizer.pad_token_id, fused=fused)
        return lambda: trainer.run(0, share)

    weighted = [list(c) for c in inputs.captions]
    repeated = [[TokenCaption(c.ids, 1.0) for c in cs for _ in range(int(c.weight))] for cs in weighted]
    built = build(base, variant)
    ways: dict[str, Callable[[], object]] = {
        "naive: every pair through the vision tower": lambda: naive.train(build(base, variant).model, inputs, recipe, 0, steps),
        "features cached": lambda: _train_pairs(built, inputs, features, recipe, steps),
        "one prefix, five captions packed": packed(repeated, fused=False),
        "repeats as weights": packed(weighted, fused=False),
        "fused LoRA": packed(weighted, fused=True),
    }
    seconds = {}
    for name, way in ways.items():
        begin = clock()
        way()
        _synchronize(inputs)
        seconds[name] = clock() - begin
    return seconds


def _train_pairs(built: Built, inputs: TrialInputs, features: torch.Tensor, recipe: Recipe, steps: int) -> None:
    """Run the naive steps over cached features: padded pairs, logits at every position."""
    parameters = list(built.trainable().values())
    optimiser = torch.optim.AdamW(parameters, lr=recipe.lr)
    data, model, device = naive.Steps(inputs, recipe, 0), built.model, inputs.base.device
    queries = model.query_tokens.shape[1]
    for step in range(min(steps, len(data))):
        rows = data.rows(step)
        images = [data.pairs[row][0] for row in rows]
        batch = {k: v.to(device) for k, v in data.text(rows).items()}
        for at in range(0, len(images), naive.MICRO):
            part = {k: v[at : at + naive.MICRO] for k, v in batch.items()}
            prefix = query_prefix(model, features[images[at : at + naive.MICRO]])
            text = model.get_input_embeddings()(part["input_ids"][:, queries:]).to(prefix.dtype)
            logits = model.language_model(
                inputs_embeds=torch.cat([prefix, text], 1), attention_mask=part["attention_mask"]
            ).logits
            functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), part["labels"][:, 1:].flatten()).backward()
        optimiser.step()
        optimiser.zero_grad()


def facts(options: argparse.Namespace, inputs: TrialInputs, measured: Mapping[str, Any]) -> list[str]:
    """Lines above the table: command, work, and whether the results agree."""
    scores = ", ".join(f"{a:.2f} / {b:.2f}" for a, b in measured["cider"] if a is not None and b is not None)
    same = ", ".join(str(n) for n in measured["same_captions"])
    return [
        measured_by(f"python -m benchmarks.trial --base {options.base} --seeds {options.seeds} --threads {options.threads}"),
        f"{inputs.base.name}, {inputs.base.dtype}: {inputs.train} images x 5 captions, {measured['captions']} captioned "
        f"with 5 beams; batch of {options.batch_images} images, LoRA r16; "
        + (f"CIDEr, naive / ours: {scores}" if scores else "CIDEr not scored"),
        f"vision features, once for all trials: {measured['features_s']:.2f} s",
        f"quality gate {'passed' if measured['gate'] else 'NOT passed'}: last training losses differ by "
        f"{measured['loss_difference']:.1e} at most; {same} of {measured['captions']} captions are the same",
        *measured.get("gpu", ()),
    ]


def tables(measured: Mapping[str, Any]) -> str:
    """Markdown tables: seconds and ratios of the parts of a trial, and of the training steps by mechanism."""
    rows: list[list[object]] = []
    for part in (*measured["naive_s"][0], "whole trial"):
        naive_s, ours_s = ([_part(s, part) for s in measured[way]] for way in ("naive_s", "ours_s"))
        ratios = [a / b for a, b in zip(naive_s, ours_s, strict=True)]
        cpu_ratios = [
            _part(a, part) / _part(b, part) for a, b in zip(measured["naive_cpu_s"], measured["ours_cpu_s"], strict=True)
        ]
        rows.append([part, median(naive_s), median(ours_s), _ratio(ratios), _ratio(cpu_ratios)])
    first = [
        _part(a, "whole trial") / (_part(b, "whole trial") + measured["features_s"])
        for a, b in zip(measured["naive_s"], measured["ours_s"], strict=True)
    ]
    rows.append(["whole trial, features built for it", "", "", _ratio(first), ""])
    slowest = next(iter(measured["ladder_s"].values()))
    steps = [[name, seconds, slowest / seconds] for name, seconds in measured["ladder_s"].items()]
    return (
        table(["part", "naive, s", "ours, s", "ratio", "ratio, processor"], rows)
        + "\n\n"
        + table(["training steps, cumulative", "s", "speed-up"], steps)
    )


def _part(seconds: Mapping[str, float], name: str) -> float:
    return sum(seconds.values()) if name == "whole trial" else seconds[name]


def _ratio(ratios: list[float]) -> str:
    return f"{median(ratios):.3g} ({spread(ratios)})"


def _synchronize(inputs: TrialInputs) -> None:
    if inputs.base.device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
