"""The option --storage: a folder, or a prefix on S3 with working copies in the cache of each node."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from urllib.parse import urlparse

from rsopt.cli import as_called
from rsopt.common.cache import cache_dir
from rsopt.errors import UserError

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


def is_remote(storage: str) -> bool:
    """Whether studies are stored on S3."""
    return storage.startswith("s3://")


def checked_storage(storage: str) -> str:
    """Returns the option as an absolute path or `s3://BUCKET/PREFIX`. Raises UserError for anything else."""
    if "://" not in storage:
        return str(Path(storage).absolute())
    url = urlparse(storage)
    parts = [part for part in url.path.split("/") if part]
    # The message does not repeat the URL, which may hold a secret.
    if url.scheme != "s3" or url.query or url.fragment or not _BUCKET.fullmatch(url.netloc):
        raise UserError(
            f"--storage with {url.scheme[:20]!a}: allowed are a folder and s3://BUCKET/PREFIX; "
            "keys and endpoint are taken from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL and the like"
        )
    for part in parts:
        if not _PART.fullmatch(part):
            raise UserError(f"--storage: {part[:60]!a} in the prefix; allowed are letters, digits, '.', '_' and '-'")
    return "/".join(["s3:/", url.netloc, *parts])


def study_command(storage: str, name: str, command: str) -> str:
    """Returns the command line of `command`, such as `front` or `run --resume`, for study `name` in `storage`.

    It begins as the person called this process: with `rsopt` or with `python -m`.
    """
    option = "" if storage == checked_storage("runs") else f" --storage {shlex.quote(storage)}"
    return as_called(f"python -m search.{command} --name {name}{option}")


def working_folder(storage: str) -> Path:
    """Returns the folder of the studies on this node: `storage` itself or, for S3, that of the working copies."""
    if not is_remote(storage):
        return Path(storage)
    server = urlparse(endpoint() or "").netloc.replace(":", "_") or "aws"
    return cache_dir() / "studies" / server / storage.removeprefix("s3://")


def endpoint() -> str | None:
    """Returns the URL of an S3 server that is not Amazon's: $AWS_ENDPOINT_URL_S3 or $AWS_ENDPOINT_URL."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
