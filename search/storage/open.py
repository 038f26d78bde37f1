"""Opens the store of a study, and lists the studies of a storage."""

from __future__ import annotations

from pathlib import Path

from search.storage.layout import STUDY_FILE
from search.storage.location import is_remote, working_folder
from search.storage.store import Store


def open_store(storage: str, name: str) -> Store:
    """Returns the store of study `name`. Sends no request yet."""
    if not is_remote(storage):
        return Store(working_folder(storage) / name)
    from search.storage.s3_store import S3Store  # brings pyarrow

    return S3Store(storage, name)


def study_names(storage: str) -> list[str]:
    """Returns the names of all studies. Raises UserError if the bucket cannot be reached."""
    if not is_remote(storage):
        return sorted(path.parent.name for path in Path(storage).glob(f"*/{STUDY_FILE}"))
    from search.storage.s3_client import S3Client

    client = S3Client(storage)
    client.check()
    return client.folders()
