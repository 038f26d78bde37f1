"""Weights from the hub: fetched once, before any trial starts, so that a search does not fail in its workers."""

from __future__ import annotations

from pathlib import Path

from rsopt.errors import UserError

_CONFIGS = ("*.json", "*.txt", "*.model")
_WEIGHTS = ("*.safetensors", "*.bin")  # the first kind that the repository has


def fetch(name: str) -> None:
    """Make sure that a base's files are on this machine. Local names need nothing. Raises UserError without network."""
    if name == "tiny" or Path(name).is_dir():
        return
    # Imported here: these bring the network stack, and a local base needs none.
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot_download(name, allow_patterns=[*_CONFIGS, _WEIGHTS[0]], local_files_only=True)
        return
    except LocalEntryNotFoundError:
        pass  # not cached: ask the hub
    try:
        files = HfApi().list_repo_files(name)
        weights = next((kind for kind in _WEIGHTS if any(f.endswith(kind[1:]) for f in files)), _WEIGHTS[0])
        snapshot_download(name, allow_patterns=[*_CONFIGS, weights])
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"base '{name}' is neither a folder nor in the cache, and the hub does not answer; "
            f"fetch it where there is a network with: hf download {name}"
        ) from error
