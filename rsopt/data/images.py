"""Opens the images of samples, and decodes all of them once to find broken ones."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple, cast

from PIL import Image, ImageOps

from rsopt.common.atomic_files import replacing
from rsopt.common.cache import cache_dir
from rsopt.data.near_identical import near_identical, thumbnail
from rsopt.data.records import SPLITS, Sample

# Views for training: the eight symmetries of a square, since an overhead image has no upright direction.
_TURNS = (None, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
VIEWS = 2 * len(_TURNS)
_ADDRESS = re.compile(r" <_io\.BytesIO object at 0x[0-9a-f]+>")  # left out of error messages


def open_image(sample: Sample) -> Image.Image:
    """Decode the sample's image in full, as RGB. Raises OSError if that fails."""
    source = io.BytesIO(sample.data) if sample.data is not None else sample.path
    assert source is not None
    with Image.open(source) as image:
        # Viewers apply a camera's orientation tag; PIL does not.
        return ImageOps.exif_transpose(image).convert("RGB")


def view(image: Image.Image, number: int) -> Image.Image:
    """Return a view of the image: 0 is the image, 1 to 3 are quarter turns, 4 to 7 the same of its mirror image."""
    if not 0 <= number < VIEWS:
        raise ValueError(f"view must be 0 to {VIEWS - 1}, not {number}")
    turn = _TURNS[number % len(_TURNS)]
    image = ImageOps.mirror(image) if number >= len(_TURNS) else image
    return image if turn is None else image.transpose(turn)


@dataclass(frozen=True, slots=True)
class Inspection:
    """Result of decoding all images.

    `broken` is {image id: reason}, `sizes` {"224x224": images}; `same` names images whose files are the same in two splits.
    `near` names the first pairs of near-identical images in two splits. `near_across` and `near_within` count such pairs in
    two splits and within one, the latter with files that are the same.
    """

    broken: dict[str, str]
    sizes: dict[str, int]
    same: list[str]
    near: list[str]
    near_across: int
    near_within: int


def inspect_images(samples: Sequence[Sample], on_done: Callable[[int], None] | None = None) -> Inspection:
    """Decode all images in parallel; calls `on_done(number so far)` from time to time.

    The result is cached under a digest of file names, sizes and times (or of the bytes), so unchanged files are decoded
    once only.
    """
    cached = cache_dir() / "inspected" / f"{files_digest(samples)}.json"
    if (earlier := _load(cached)) is not None:
        return earlier
    broken: dict[str, str] = {}
    sizes: Counter[str] = Counter()
    seen: dict[str, Sample] = {}
    same, copies = [], 0
    different: list[tuple[Sample, bytes]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoders release the interpreter's lock
        for number, (sample, decoded) in enumerate(zip(samples, pool.map(_decode, samples), strict=True), start=1):
            if decoded.fault:
                broken[sample.image_id] = decoded.fault
            else:
                sizes[decoded.size] += 1
                first = seen.setdefault(decoded.content, sample)
                if first is sample:
                    different.append((sample, decoded.thumbnail))
                elif first.split != sample.split:
                    same.append(_pair(first, sample))
                else:
                    copies += 1
            if on_done and (number % 64 == 0 or number == len(samples)):
                on_done(number)
    pairs = near_identical([t for _, t in different], [SPLITS.index(s.split) for s, _ in different])
    near = [_pair(different[one][0], different[other][0]) for one, other in pairs.first]
    inspection = Inspection(broken, dict(sizes.most_common()), same, near, pairs.across, pairs.within + copies)
    _save(cached, inspection)
    return inspection


def broken_images(samples: Sequence[Sample]) -> dict[str, str]:
    """{image id: reason} of the images that cannot be decoded."""
    return inspect_images(samples).broken


def _pair(one: Sample, other: Sample) -> str:
    return f"{one.image_id} ({one.split}) and {other.image_id} ({other.split})"


class _Decoded(NamedTuple):
    """Of one image: why it cannot be decoded, or its size, a digest of its file, and its grey levels in small."""

    fault: str = ""
    size: str = ""
    content: str = ""
    thumbnail: bytes = b""


def _decode(sample: Sample) -> _Decoded:
    """Decode one image. Any exception of a decoder is a fault of the file."""
    try:
        data = sample.data if sample.data is not None else cast(Path, sample.path).read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = open_image(replace(sample, data=data, path=None))
            small = thumbnail(image)
    except Exception as error:  # noqa: BLE001 - decoders raise SyntaxError, struct.error, DecompressionBombError...
        return _Decoded(fault=_ADDRESS.sub("", " ".join((str(error) or type(error).__name__).split()))[:120])
    content = hashlib.blake2b(data, digest_size=16).hexdigest()
    return _Decoded(size=f"{image.width}x{image.height}", content=content, thumbnail=small)


def files_digest(samples: Iterable[Sample]) -> str:
    """Return a digest that changes with any file of the samples. Raises OSError for a missing file."""
    state = hashlib.blake2b(digest_size=16)
    folders: dict[Path, Path] = {}
    for sample in samples:
        state.update(f"{sample.image_id}\0{sample.split}\0".encode())
        if sample.path is not None:
            stat = sample.path.stat()
            if (parent := sample.path.parent) not in folders:
                folders[parent] = parent.resolve()
            state.update(f"{folders[parent]}/{sample.path.name}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
        else:
            state.update(sample.data or b"")
    return state.hexdigest()


def _load(file: Path) -> Inspection | None:
    """The stored inspection, or None if the file is missing or damaged."""
    try:
        return Inspection(**json.loads(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _save(file: Path, inspection: Inspection) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as aside:
        aside.write_text(json.dumps(asdict(inspection)), encoding="utf-8")
