"""Data sets of the Hugging Face hub: gets their parquet files from the local cache or the network."""

from __future__ import annotations

from pathlib import Path

from rsopt.errors import UserError


def cached_parquet(repo_id: str, progress: bool = False) -> Path:
    """Return the folder of a data set's parquet files, which are downloaded once. Raises UserError if that fails."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    if not progress:
        disable_progress_bars()
    patterns = ["*.parquet", "**/*.parquet"]
    try:
        return Path(snapshot_download(repo_id, repo_type="dataset", allow_patterns=patterns))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        message = str(error).strip().splitlines()
        raise UserError(
            f"data '{repo_id}': not a folder, not in the cache, and not available from the hub "
            f"({type(error).__name__}: {message[0] if message else 'no answer'})"
        ) from None
