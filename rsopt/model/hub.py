"""Files of a base on this machine: a folder, or fetched from the hub once, before workers need them."""

from __future__ import annotations

import json
from pathlib import Path

from rsopt.errors import UserError
from rsopt.model.configs import TINY

_CONFIGS = ("*.json", "*.txt", "*.model")
# File name endings, a single file and the index of a sharded one. The first kind that exists is used.
_WEIGHTS = (
    (".safetensors", "model.safetensors", "model.safetensors.index.json"),
    (".bin", "pytorch_model.bin", "pytorch_model.bin.index.json"),
)


def fetch(name: str) -> Path:
    """Returns the folder with a base's files, fetched if needed. Raises UserError where the hub does not answer.

    Loading from a folder instead of by name also keeps transformers from asking the hub to convert pickled weights.
    """
    if (folder := cached(name)) is not None:
        return folder
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        files = HfApi().list_repo_files(name)
        kind = next((kind for kind, *_ in _WEIGHTS if any(f.endswith(kind) for f in files)), _WEIGHTS[0][0])
        return Path(snapshot_download(name, allow_patterns=[*_CONFIGS, f"*{kind}"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"base '{name}' is neither a folder nor whole in the cache, and the hub does not answer; "
            f"fetch it where there is a network with: hf download {name}"
        ) from error


def cached(name: str) -> Path | None:
    """Returns the folder with all of a base's files, its own or one in the hub's cache; None where some are missing."""
    if name == "tiny" or Path(name).is_dir():
        return TINY if name == "tiny" else Path(name)
    # Imported here: they import the network stack, which a local base does not need.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    files = _weight_files(folder)  # a configuration alone may be cached too
    return folder if files and all(file.is_file() for file in files) else None


def hub_cache() -> Path:
    """Returns the hub's cache folder, below `$HF_HOME`."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _weight_files(folder: Path) -> list[Path]:
    """Returns the files of a folder's weights, which an index may name without their being present."""
    for _, single, index in _WEIGHTS:
        if (folder / single).is_file():
            return [folder / single]
        if (folder / index).is_file():
            return [folder / file for file in sorted(set(json.loads((folder / index).read_text())["weight_map"].values()))]
    return []
