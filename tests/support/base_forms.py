"""Formats in which BLIP-2 checkpoints exist, made from the shipped base.

Make one: python -m tests.support.base_forms FORM FOLDER
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from rsopt.model.configs import TINY

WEIGHTS = "model.safetensors"
# Keys that transformers 4 wrote into every part of a config.
_LEGACY = {"max_length": 20, "num_beams": 1, "do_sample": False, "top_k": 50, "length_penalty": 1.0, "torchscript": False}


def copy_tiny(folder: Path) -> Path:
    """Copy the shipped base: a single file, half precision."""
    return Path(shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("__init__.py", "__pycache__")))


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file in place."""
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def without_image_token_index(folder: Path) -> Path:
    """A config from before processors wrote image tokens."""
    edit_json(copy_tiny(folder) / "config.json", lambda c: c.pop("image_token_index"))
    return folder


def another_image_token_index(folder: Path) -> Path:
    """A config whose image token is not the tokenizer's."""
    edit_json(copy_tiny(folder) / "config.json", lambda c: c.update(image_token_index=7))
    return folder


def without_num_query_tokens(folder: Path) -> Path:
    """A processor that does not know how many image tokens to write."""
    edit_json(copy_tiny(folder) / "processor_config.json", lambda p: p.pop("num_query_tokens"))
    return folder


def in_dtype(folder: Path, dtype: torch.dtype) -> Path:
    """Weights and config in another precision."""
    weights = load_file(copy_tiny(folder) / WEIGHTS)
    save_file({name: w.to(dtype) for name, w in weights.items()}, folder / WEIGHTS, {"format": "pt"})
    edit_json(folder / "config.json", lambda c: c.update(dtype=str(dtype).removeprefix("torch.")))
    return folder


def sharded(folder: Path, shards: int = 3) -> Path:
    """Safetensors in several files with an index."""
    _shard(copy_tiny(folder), shards, "model-{:05d}-of-{:05d}.safetensors", "model.safetensors.index.json")
    return folder


def single_bin(folder: Path) -> Path:
    """One pickled file, as torch saves a state dict."""
    torch.save(load_file(copy_tiny(folder) / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    return folder


def sharded_fp16(folder: Path, shards: int = 4) -> Path:
    """As `ybelkada/blip2-opt-2.7b-fp16-sharded`: pickled float16 shards, an old config, an old processor, no image token."""
    _shard(copy_tiny(folder), shards, "pytorch_model-{:05d}-of-{:05d}.bin", "pytorch_model.bin.index.json")
    _old_config(folder)
    _old_processor(folder)
    return folder


def of_today(folder: Path) -> Path:
    """As `Salesforce/blip2-opt-2.7b`: float32 in safetensors shards, image token in config, tokenizer and processor."""
    weights = load_file(copy_tiny(folder) / WEIGHTS)
    save_file({name: w.float() for name, w in weights.items()}, folder / WEIGHTS, {"format": "pt"})
    _shard(folder, 2, "model-{:05d}-of-{:05d}.safetensors", "model.safetensors.index.json")
    edit_json(folder / "config.json", lambda c: c.update(dtype="float32"))
    return folder


def no_room_for_the_image_token(folder: Path) -> Path:
    """A vocabulary without a row for the image token that the processor adds."""
    weights = load_file(copy_tiny(folder) / WEIGHTS)
    rows = json.loads((folder / "config.json").read_text())["image_token_index"]
    cut = {name: w[:rows].clone() if "embed_tokens" in name or "lm_head" in name else w for name, w in weights.items()}
    save_file(cut, folder / WEIGHTS, {"format": "pt"})
    edit_json(folder / "config.json", lambda c: (c.pop("image_token_index"), c["text_config"].update(vocab_size=rows)))
    _old_processor(folder)
    return folder


def other_rows(folder: Path) -> Path:
    """A config with another vocabulary size than the weights."""
    edit_json(copy_tiny(folder) / "config.json", lambda c: c["text_config"].update(vocab_size=960))
    return folder


def other_queries(folder: Path) -> Path:
    """A config without `num_query_tokens`: transformers then takes 32."""
    edit_json(copy_tiny(folder) / "config.json", lambda c: c.pop("num_query_tokens"))
    return folder


def other_end(folder: Path) -> Path:
    """A config with `</s>` as the end token, which no caption of the base has."""
    edit_json(copy_tiny(folder) / "config.json", lambda c: c["text_config"].update(eos_token_id=0))
    return folder


FORMS: Mapping[str, Callable[[Path], Path]] = {
    "of_today": of_today,
    "sharded_fp16": sharded_fp16,
    "without_image_token_index": without_image_token_index,
    "another_image_token_index": another_image_token_index,
    "without_num_query_tokens": without_num_query_tokens,
    "float32": lambda folder: in_dtype(folder, torch.float32),
    "float16": lambda folder: in_dtype(folder, torch.float16),
    "bfloat16": lambda folder: in_dtype(folder, torch.bfloat16),
    "single": copy_tiny,
    "sharded": sharded,
    "single_bin": single_bin,
    "no_room_for_the_image_token": no_room_for_the_image_token,
    "other_rows": other_rows,
    "other_queries": other_queries,
    "other_end": other_end,
}


def in_hub_cache(home: Path, name: str, form: Callable[[Path], Path]) -> Path:
    """Make `form` in the hub client's cache of repository `name` below `home`."""
    repository = home / "hub" / f"models--{name.replace('/', '--')}"
    commit = "0" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    return form(repository / "snapshots" / commit)


def _shard(folder: Path, shards: int, file: str, index: str) -> None:
    weights = load_file(folder / WEIGHTS)
    names, owner = sorted(weights), dict[str, str]()
    for number in range(shards):
        chosen = names[number::shards]
        target = file.format(number + 1, shards)
        owner |= dict.fromkeys(chosen, target)
        part = {n: weights[n] for n in chosen}
        if target.endswith(".bin"):
            torch.save(part, folder / target)
        else:
            save_file(part, folder / target, {"format": "pt"})
    (folder / index).write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": owner}))
    (folder / WEIGHTS).unlink()


def _old_config(folder: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config.pop("image_token_index")
        config.pop("image_text_hidden_size")
        config["torch_dtype"] = config.pop("dtype")
        config["transformers_version"] = None
        for part in ("text_config", "qformer_config", "vision_config"):
            config[part] |= _LEGACY | {"torch_dtype": "float16"}

    edit_json(folder / "config.json", change)
    (folder / "generation_config.json").unlink()


def _old_processor(folder: Path) -> None:
    """`preprocessor_config.json` in place of `processor_config.json`, and a tokenizer without an image token."""
    path = folder / "processor_config.json"
    image = json.loads(path.read_text())["image_processor"]
    (folder / "preprocessor_config.json").write_text(json.dumps(image | {"processor_class": "Blip2Processor"}))
    path.unlink()
    edit_json(folder / "tokenizer.json", lambda t: t["added_tokens"].pop())
    edit_json(folder / "tokenizer_config.json", lambda t: t.pop("extra_special_tokens"))


if __name__ == "__main__":
    FORMS[sys.argv[1]](Path(sys.argv[2]))
