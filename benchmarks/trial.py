"""A whole trial two ways, same machine, same work: the loop that an expert writes, and ours. Written to docs/benchmarks.md.

Run from the repository root: python -m benchmarks.trial --base tiny|small|opt-2.7b [--random-weights] [--seeds 2].
Needs torch, transformers, peft, safetensors and numpy; `--base tiny` needs the whole project.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.nn import functional

from benchmarks import naive
from benchmarks.gpu import gpu_lines
from benchmarks.naive import Outcome, run_naive
from benchmarks.report import FILE, machine, table, write_section
from benchmarks.work import Work, features_of, make_base, random_work, tiny_work
from rsopt.caption.cuda_graph import Captured
from rsopt.caption.decoder_check import captured_pays
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
    """Measure, print, write; exit 1 where the two trials did not come to the same."""
    options = parser().parse_args()
    torch.set_num_threads(options.threads)
    train, evaluated, new_tokens, epochs = SIZES.get(options.base, SIZES["small"])
    device = best_device()
    train, evaluated = options.images or train, options.eval_images or evaluated
    if options.base == "tiny" and not options.random_weights:
        work = tiny_work(train, evaluated)
    else:
        work = random_work(make_base(options.base, device, best_dtype(device)), train, evaluated)
    recipe = Recipe(lr=1e-3, epochs=epochs, batch_images=options.batch_images)
    found = measure(work, recipe, options.new_tokens or new_tokens, options.seeds)
    if device.type == "cuda":
        found["gpu"] = gpu_lines(work, LORA, recipe, found)
    print(json.dumps(found))
    write_section(f"trial --base {options.base}", facts(options, work, found), tables(found), options.out)
    return 0 if found["gate"] else 1


def parser() -> argparse.ArgumentParser:
    """Options; sizes default by base."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--base", default="small", help="tiny, small, opt-2.7b or opt-6.7b (default: %(default)s)")
    p.add_argument("--random-weights", action="store_true", help="random weights and images; implied but for tiny")
    p.add_argument("--images", type=int, help="training images, five captions each")
    p.add_argument("--eval-images", type=int, help="images captioned with five beams")
    p.add_argument("--batch-images", type=int, default=16, help="images a step (default: %(default)s)")
    p.add_argument("--new-tokens", type=int, help="most new tokens of a caption")
    p.add_argument("--seeds", type=int, default=2, help="trials of each way (default: %(default)s)")
    p.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch threads (default: %(default)s)")
    p.add_argument("--out", type=Path, default=FILE, help="Markdown file to write (default: docs/benchmarks.md)")
    return p


def measure(work: Work, recipe: Recipe, new_tokens: int, seeds: int) -> dict[str, Any]:
    """Whole trials of both, in turn, and the ladder of mechanisms in between."""
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        work.base.model.save_pretrained(folder)
        begin = time.perf_counter()
        features = features_of(work)
        _settle(work)
        features_s = time.perf_counter() - begin
        on_card = work.base.device.type == "cuda"
        captured = on_card and captured_pays(
            work.base.model, work.base, features[work.train :][: BATCH["cuda"]]
        )  # once a process
        for seed in range(seeds):
            ours = run_ours(work, features, recipe, seed, new_tokens, captured)
            theirs = run_naive(work, Path(folder), LORA, recipe, seed, new_tokens)
            pairs.append((theirs, ours))
            print(f"seed {seed}: naive {theirs.total:.1f} s, ours {ours.total:.1f} s", file=sys.stderr)
        rungs = ladder(work, features, recipe)
    gate = 1e-2 if work.base.device.type == "cuda" else LOSS_GATE
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
        "captions": work.images - work.train,
        "ladder_s": rungs,
        "gate": max(differences) <= gate,
        "loss_difference": max(differences),
    }


def run_ours(work: Work, features: torch.Tensor, recipe: Recipe, seed: int, new_tokens: int, captured: bool) -> Outcome:
    """One whole trial in a worker that already holds base and features, as every trial of a search but the first.

    `captured`: whether decode steps may be captured here.
    """
    base = work.base
    out = Outcome(base.device)
    built = build(base, Variant.full(base.shape, LORA), seed)
    data = TrainingSet(features[: work.train], work.captions)
    trainer = Trainer(built, data, recipe, seed, base.tokenizer.pad_token_id)
    out.lap("build")
    out.loss = trainer.run(0, 1).losses[-1]
    out.lap("train")
    asked = features[work.train :]
    decode = Captured() if captured else shared_prefix
    texts = caption_features(merged(built), base, asked, Generation(max_new_tokens=new_tokens), decode=decode)
    out.captions = dict(zip(range(work.train, work.images), texts, strict=True))
    out.lap("caption")
    if work.score:
        out.cider = work.score(out.captions)
        out.lap("score")
    return out


def ladder(work: Work, features: torch.Tensor, recipe: Recipe, steps: int = 2) -> dict[str, float]:
    """Seconds of the same first training steps, each mechanism added to those above it; processor seconds on a CPU.

    A CPU has other work, a GPU does not, and waits for it are no one's merit.
    """
    clock = time.perf_counter if work.base.device.type == "cuda" else time.process_time
    base, variant = work.base, Variant.full(work.base.shape, LORA)
    share = steps / max(1, round(recipe.epochs * -(-work.train // recipe.batch_images)))
    share = min(1.0, share)

    def packed(captions: list[list[TokenCaption]], fused: bool) -> Callable[[], object]:
        data = TrainingSet(features[: work.train], captions)
        trainer = Trainer(build(base, variant), data, recipe, 0, base.tokenizer.pad_token_id, fused=fused)
        return lambda: trainer.run(0, share)

    own = [list(c) for c in work.captions]
    repeated = [[TokenCaption(c.ids, 1.0) for c in cs for _ in range(int(c.weight))] for cs in own]
    built = build(base, variant)
    ways: dict[str, Callable[[], object]] = {
        "naive: every pair through the vision tower": lambda: naive.train(
            build(base, variant).model, work, recipe, 0, steps
        ),
        "features cached": lambda: _train_pairs(built, work, features, recipe, steps),
        "one prefix, five captions packed": packed(repeated, fused=False),
        "repeats as weights": packed(own, fused=False),
        "fused LoRA": packed(own, fused=True),
    }
    found = {}
    for name, way in ways.items():
        begin = clock()
        way()
        _settle(work)
        found[name] = clock() - begin
    return found


def _train_pairs(built: Built, work: Work, features: torch.Tensor, recipe: Recipe, steps: int) -> None:
    """The naive steps over cached features: pairs, padded, logits everywhere."""
    parameters = list(built.trainable().values())
    optimiser = torch.optim.AdamW(parameters, lr=recipe.lr)
    data, model, device = naive.Steps(work, recipe, 0), built.model, work.base.device
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


def facts(options: argparse.Namespace, work: Work, found: dict[str, Any]) -> dict[str, object]:
    """What the figures were measured on, and the quality gate."""
    losses = ", ".join(f"{a:.5f} / {b:.5f}" for a, b in found["loss"])
    scores = ", ".join(f"{a:.2f} / {b:.2f}" for a, b in found["cider"] if a is not None and b is not None)
    command = f"python -m benchmarks.trial --base {options.base} --seeds {options.seeds} --threads {options.threads}"
    return {
        "command": f"`{command}`",
        "machine": machine(),
        "work": f"{work.base.name}, {work.base.dtype}: {work.train} images x 5 captions, {found['captions']} captioned "
        "with 5 beams; batch of {} images, LoRA r16 on all linears of LLM and Q-Former".format(options.batch_images),
        "vision features, once for all trials": f"{found['features_s']:.2f} s",
        "last training loss, naive / ours": f"{losses} (largest difference {found['loss_difference']:.1e})",
        "CIDEr, naive / ours": scores or "not scored: random weights",
        "same captions": ", ".join(f"{n} of {found['captions']}" for n in found["same_captions"]),
        "quality gate": "passed" if found["gate"] else "NOT passed",
        **found.get("gpu", {}),
    }


def tables(found: dict[str, Any]) -> str:
    """Seconds and ratios of the parts, and of the ladder's rungs."""
    rows: list[list[object]] = []
    for part in (*found["naive_s"][0], "whole trial"):
        a, b = ([_part(s, part) for s in found[who]] for who in ("naive_s", "ours_s"))
        ratios = [x / y for x, y in zip(a, b, strict=True)]
        busy = [_part(x, part) / _part(y, part) for x, y in zip(found["naive_cpu_s"], found["ours_cpu_s"], strict=True)]
        rows.append([part, median(a), median(b), *_spread(ratios), *_spread(busy)])
    first = [
        _part(a, "whole trial") / (_part(b, "whole trial") + found["features_s"])
        for a, b in zip(found["naive_s"], found["ours_s"], strict=True)
    ]
    rows.append(["whole trial, features built for it", "", "", *_spread(first), "", ""])
    steps = list(found["ladder_s"].items())
    ladder_rows = [
        [name, s, before / s, steps[0][1] / s] for (_, before), (name, s) in zip(steps[:1] + steps, steps, strict=False)
    ]
    return (
        table(["part", "naive, s", "ours, s", "ratio", "over seeds", "ratio, processor", "over seeds"], rows)
        + "\n\n"
        + table(["training steps, each line adds to those above", "s", "gain", "in all"], ladder_rows)
    )


def _part(seconds: dict[str, float], name: str) -> float:
    return sum(seconds.values()) if name == "whole trial" else seconds[name]


def _spread(ratios: list[float]) -> tuple[float, str]:
    return median(ratios), f"{min(ratios):.1f} to {max(ratios):.1f}"


def _settle(work: Work) -> None:
    if work.base.device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
