"""A base's files on this machine: a folder, or fetched from the hub once, so that a search does not fail in its workers."""

from __future__ import annotations

import json
from pathlib import Path

from rsopt.errors import UserError
from rsopt.model.configs import TINY

_CONFIGS = ("*.json", "*.txt", "*.model")
# File name endings, a single file and the index of a sharded one: the first kind that is there is taken.
_WEIGHTS = (
    (".safetensors", "model.safetensors", "model.safetensors.index.json"),
    (".bin", "pytorch_model.bin", "pytorch_model.bin.index.json"),
)


def fetch(name: str) -> Path:
    """The folder with a base's files; local names need nothing. Raises UserError where it is not here and no hub answers.

    Loading from the folder and not by name also keeps transformers from asking the hub to convert pickled weights.
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
    """The folder with a base's files where they are all here: its own, or the hub's cache; else None."""
    if name == "tiny" or Path(name).is_dir():
        return TINY if name == "tiny" else Path(name)
    # Imported here: these bring the network stack, and a local base needs none.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    files = _weight_files(folder)  # a configuration alone may be cached too
    return folder if files and all(file.is_file() for file in files) else None


def hub_cache() -> Path:
    """Where the hub's client keeps what it fetches: below `$HF_HOME`."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _weight_files(folder: Path) -> list[Path]:
    """The files that hold a folder's weights, whether or not they are there; empty where nothing names any."""
    for _, single, index in _WEIGHTS:
        if (folder / single).is_file():
            return [folder / single]
        if (folder / index).is_file():
            return [
                folder / file for file in sorted(set(json.loads((folder / index).read_text())["weight_map"].values()))
            ]
    return []
