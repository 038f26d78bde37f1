"""Data sets of the Hugging Face hub: their parquet files, from the local cache or over the network."""

from __future__ import annotations

from pathlib import Path

from rsopt.errors import UserError


def cached_parquet(repo_id: str, progress: bool = False) -> Path:
    """Folder of a data set's parquet files, downloaded once. UserError where the hub does not give them."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    if not progress:
        disable_progress_bars()
    patterns = ["*.parquet", "**/*.parquet"]
    try:
        return Path(snapshot_download(repo_id, repo_type="dataset", allow_patterns=patterns))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        said = str(error).strip().splitlines()
        raise UserError(
            f"data '{repo_id}': neither a folder here nor in the cache, and the hub did not give it "
            f"({type(error).__name__}: {said[0] if said else 'no answer'})"
        ) from None
