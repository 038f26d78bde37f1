"""Caches PTB tokens of references on disk: one process on a node runs Java, the others read its result."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from rsopt.common.atomic_files import replacing
from rsopt.common.cache import cache_dir
from rsopt.core.variant import digest
from rsopt.scores.meteor import Meteor
from rsopt.scores.ptb_tokenizer import VERSION, PtbTokenizer


@functools.cache
def tokenizer() -> PtbTokenizer:
    """Return the PTB tokenizer of this process."""
    return PtbTokenizer()


@functools.cache
def meteor() -> Meteor:
    """Return the METEOR of this process, which starts with the first score and ends by `close` or with the process."""
    return Meteor()


def learn_tokens(sentences: Iterable[str]) -> None:
    """Add the sentences' tokens to this process's tokenizer, from the cache or computed and then cached."""
    distinct = sorted(set(sentences))
    file = cache_dir() / "tokens" / f"{digest([VERSION, distinct])}.json"
    tokens = _load(file, len(distinct))
    if tokens is None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):  # others wait instead of starting Java too
            tokens = _load(file, len(distinct))
            if tokens is None:
                tokens = tokenizer()(distinct)
                _save(file, tokens)
    tokenizer().learn(zip(distinct, tokens, strict=True))


def _load(file: Path, count: int) -> list[str] | None:
    """The cached tokens, or None if the file is missing or damaged."""
    try:
        tokens = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return tokens if isinstance(tokens, list) and len(tokens) == count else None


def _save(file: Path, tokens: list[str]) -> None:
    with replacing(file) as aside:
        aside.write_text(json.dumps(tokens), encoding="utf-8")
