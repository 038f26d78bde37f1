"""Model card of an exported folder, written from its manifest: usage, origin, scores, cost and licence. No I/O."""

from __future__ import annotations

import json

from rsopt.core.baseline import in_one_line
from rsopt.core.latency_kind import LatencyKind, latency_kind
from rsopt.core.variant import ranges
from rsopt.model.export_manifest import ExportManifest

MERGED_SNIPPET = """\
import sys

import torch
from PIL import Image, ImageOps
from transformers import Blip2ForConditionalGeneration, Blip2Processor

folder = "."  # this folder
processor = Blip2Processor.from_pretrained(folder)
model = Blip2ForConditionalGeneration.from_pretrained(folder).eval()
for path in sys.argv[1:] or ["image.jpg"]:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    inputs = processor(images=image, return_tensors="pt").to(model.device, model.dtype)
    with torch.inference_mode():
        # Named, since BLIP-2 hands generation to its language model, which does not know the settings saved with the whole.
        ids = model.generate(**inputs, generation_config=model.generation_config)
    print(" ".join(processor.decode(ids[0], skip_special_tokens=True).split()))
"""

ADAPTER_SNIPPET = """\
import json
import sys

import torch
from peft import PeftModel
from PIL import Image, ImageOps
from transformers import Blip2ForConditionalGeneration, Blip2Processor

folder, base = ".", {base}  # this folder; the base it was tuned on
kept = json.load(open(f"{{folder}}/kept_layers.json"))
processor = Blip2Processor.from_pretrained(folder)
model = Blip2ForConditionalGeneration.from_pretrained(base, dtype=torch.{dtype})

# Drop the layers that the search dropped, and number what is left: a cache slot of a dropped layer must not be asked for.
decoder, queries, vision = model.language_model.model.decoder, model.qformer.encoder, model.vision_model.encoder
decoder.layers = torch.nn.ModuleList(decoder.layers[i] for i in kept["llm"])
queries.layer = torch.nn.ModuleList(queries.layer[i] for i in kept["qformer"])
vision.layers = torch.nn.ModuleList(vision.layers[i] for i in kept["vision"])
for index, layer in enumerate(decoder.layers):
    layer.self_attn.layer_idx = index
for index, layer in enumerate(queries.layer):
    layer.layer_idx = index
for config in (model.config.text_config, model.language_model.config, decoder.config):
    config.num_hidden_layers = len(decoder.layers)
for config in (model.config.qformer_config, model.qformer.config, queries.config):
    config.num_hidden_layers = len(queries.layer)
    config.cross_attention_frequency = kept["cross_attention_frequency"]

model = PeftModel.from_pretrained(model, folder).eval()
for path in sys.argv[1:] or ["image.jpg"]:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    inputs = processor(images=image, return_tensors="pt").to(model.device, torch.{dtype})
    with torch.inference_mode():
        ids = model.generate(**inputs, num_beams={beams}, max_new_tokens={max_new_tokens}, do_sample=False)
    print(" ".join(processor.decode(ids[0], skip_special_tokens=True).split()))
"""

INTERVALS: dict[LatencyKind, str] = {
    "measured": "95 % interval of the median",
    "disturbed": "95 % interval of the median",
    "predicted": "with the prediction's error",
}
LATENCY_NOTES: dict[LatencyKind | None, str] = {
    "predicted": "The latency was not measured: it is predicted from those of models of other depths.",
    "disturbed": "Other work disturbed the measurement of this latency: take it again before you rely on it.",
}
METRICS = {"cider": "CIDEr", "bleu_1": "BLEU-1", "bleu_2": "BLEU-2", "bleu_3": "BLEU-3", "bleu_4": "BLEU-4"}
METRICS |= {"meteor": "METEOR", "rouge_l": "ROUGE-L"}
LICENCES = {
    "tiny": "The base is this project's own small model, trained from scratch on generated pictures.",
    "blip2-opt": (
        "The base's hub card names the MIT licence for BLIP-2; its language model, OPT, was released by Meta under a "
        "licence of its own that allows research and no commercial use. Neither was checked when this card was written."
    ),
}


def model_card(manifest: ExportManifest) -> str:
    """Returns the text of README.md in the form of the Hugging Face hub."""
    m = manifest
    parts = [
        _head(m),
        f"# {m.name} ({m.study}, trial {m.trial})",
        f"A captioner for pictures like those of {_code(m.data.name)}: a smaller {_code(m.base)}, found by a "
        f"search over which layers to keep and where to put LoRA.",
        "## Use it\n\n" + _use(m),
        "## How it was found\n\n" + _origin(m),
        "## What is kept of the base\n\n" + _layers(m),
        "## Scores\n\n" + _scores(m),
        "## Size and speed\n\n" + _cost(m),
        "## Licence\n\n" + _licence(m),
    ]
    return "\n\n".join(parts) + "\n"


def snippet(manifest: ExportManifest) -> str:
    """Returns the script that the card shows. Run in the exported folder, it captions the images named as arguments."""
    if not manifest.adapter_only:
        return MERGED_SNIPPET
    protocol = manifest.protocol
    return ADAPTER_SNIPPET.format(
        base=json.dumps("rsopt/tiny" if manifest.base == "tiny" else manifest.base),
        dtype=manifest.dtype,
        beams=protocol.beams,
        max_new_tokens=protocol.max_new_tokens,
    )


def _head(m: ExportManifest) -> str:
    lines = ["---", f"library_name: {'peft' if m.adapter_only else 'transformers'}", "pipeline_tag: image-to-text"]
    if "/" in m.base:
        lines.append(f"base_model: {json.dumps(m.base)}")
    return "\n".join([*lines, "tags: [blip-2, image-captioning, remote-sensing, pruned]", "license: other", "---"])


def _use(m: ExportManifest) -> str:
    needs = "transformers, torch, safetensors, pillow" + (", peft" if m.adapter_only else "")
    needs += ", accelerate, bitsandbytes" if m.dtype in ("int8", "int4") else ""
    text = f"Save as `use.py` in this folder and run `python use.py image.jpg`. It needs {needs} and nothing else.\n\n"
    if m.adapter_only:
        text += "This folder holds the adapter, not the model: the base is loaded, its layers dropped, LoRA put on.\n\n"
    return text + f"```python\n{snippet(m)}```"


def _origin(m: ExportManifest) -> str:
    search = m.found
    lines = [
        f"Study {_code(m.study)}, space {_code(search.space)}: {search.finished} of {search.trials} candidates were "
        f"trained to the end (sampler {search.sampler}, seed {search.seed}), judged by {', '.join(search.objectives)}. "
        + (f"This one is trial {m.trial}" + (f", picked as {m.pick}." if m.pick else "."))
    ]
    if search.verdict is not None:
        lines.append(f"On the validation split, as the search measured it: {search.verdict}")
    if lora := m.variant.lora:
        where = " and ".join(
            f"{name} (rank {part.rank}, alpha {part.alpha:g}, {part.targets.replace('_', ' ')})"
            for name, part in (("the LLM", lora.llm), ("the Q-Former", lora.qformer))
            if part
        )
        projection = ", with the projection between them trained in full" if lora.train_projection else ""
        lines.append(f"Tuned by LoRA on {where}{projection}; {m.recipe.description}.")
    else:
        lines.append("It was not tuned.")
    if refit := m.refit:
        lines.append(
            f"These weights are not the search's own: the trial was trained again (refit {refit.number}, "
            f"{refit.epochs:g} epochs, seed {refit.seed}), the best of {refit.seeds} seeds on the validation split. "
            f"The search's training had a CIDEr of {refit.searched_cider:.1f} there."
        )
    versions = ", ".join(f"{name} {version}" for name, version in m.versions.items())
    return "\n\n".join([*lines, f"Versions: {versions}."])


def _layers(m: ExportManifest) -> str:
    rows = ["| part | layers | of | kept, by the base's numbers |", "|---|---|---|---|"]
    for part, title in (("vision", "vision tower"), ("qformer", "Q-Former"), ("llm", "LLM")):
        layers = getattr(m.variant, f"{part}_layers")
        rows.append(f"| {title} | {len(layers)} | {m.depths[part]} | {ranges(layers)} |")
    return "\n".join(rows)


def _scores(m: ExportManifest) -> str:
    protocol, test, validation = m.protocol, m.test, m.validation
    names = [name for name in METRICS if name in test.metrics or name in validation]
    rows = ["| split | images | " + " | ".join(METRICS[n] for n in names) + " |", "|---" * (len(names) + 2) + "|"]
    for split, images, metrics in (("test", test.images, test.metrics), ("validation", m.data.validation_images, validation)):
        cells = [f"{metrics[n]:.1f}" if n in metrics else "-" for n in names]
        rows.append(f"| {split} | {images} | " + " | ".join(cells) + " |")
    low, high = test.intervals["cider"]
    distinct = ""
    if "distinct_captions" in test.metrics:
        distinct = (
            f" There it wrote {test.metrics['distinct_captions']:.0f} distinct captions for {test.images} images, the commonest "
            f"for {test.metrics['commonest_share']:.0%} of them{': it has collapsed' if 'collapsed' in test.metrics else ''}."
        )
    return (
        "\n".join(rows) + f"\n\nAll x100: {protocol.beams} beams, at most {protocol.max_new_tokens} new tokens, "
        f"{protocol.tokenizer}. CIDEr on the test split: 95 % interval over images {low:.1f} to {high:.1f}. Baselines on the "
        f"test split: {in_one_line(test.baselines)} (a blind captioner never looks at the image; nearest_image takes the caption "
        f"of the training image nearest in colours; people are the references against each other).{distinct} The search saw the "
        f"validation split only; the test split was captioned once, by this model in {test.dtype} on {test.device}."
    )


def _cost(m: ExportManifest) -> str:
    rows = ["| | |", "|---|---|", f"| parameters | {m.params:,} |", f"| weights, {m.dtype} | {m.size_mb:.2f} MB |"]
    metrics, latency = m.validation, m.latency
    if "gmacs" in metrics:
        rows.append(f"| compute, one image and 11 text tokens | {metrics['gmacs']:.4g} GMAC |")
    kind = latency_kind(metrics)
    if kind is not None:
        spread = ""
        if "latency_low_ms" in metrics:
            spread = f" ({INTERVALS[kind]} {metrics['latency_low_ms']:.1f} to {metrics['latency_high_ms']:.1f})"
        rows.append(f"| latency{'' if kind == 'measured' else f', {kind}'} | {metrics['latency_ms']:.1f} ms{spread} |")
    text = "\n".join(rows)
    if kind in LATENCY_NOTES:
        text += f"\n\n{LATENCY_NOTES[kind]}"
    if latency and kind != "predicted":
        text += (
            f"\n\nLatency: one image in, caption out, batch 1, vision tower included, {latency.beams} beams, "
            f"{latency.new_tokens} new tokens fixed, median of {latency.runs} runs; "
            f"{latency.device}, {latency.dtype}, {latency.decoder}."
        )
    return text


def _licence(m: ExportManifest) -> str:
    known = "tiny" if m.base == "tiny" else "blip2-opt" if "blip2-opt" in m.base else None
    base = LICENCES[known] if known else f"The base is {_code(m.base)}: its licence holds for these weights too."
    return (
        f"These weights are derived from the base and from the captions and pictures of {_code(m.data.name)}; what either "
        f"allows limits what may be done with them. {base} This card grants nothing: look both up before you publish."
    )


def _code(text: str) -> str:
    """Formats a name as code. Users choose names, so backticks and line breaks are replaced."""
    return "`" + text.replace("`", "'").replace("\n", " ") + "`"
