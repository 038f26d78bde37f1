"""Reads a data set in any known format and detects the format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rsopt.data.check import check
from rsopt.data.classes import CLASSES_FILE
from rsopt.data.formats.huggingface import is_hugging_face, read_hugging_face
from rsopt.data.formats.karpathy import load_json, read_karpathy
from rsopt.data.formats.listing import Listing
from rsopt.data.formats.nwpu import is_nwpu, read_nwpu
from rsopt.data.images import broken_images
from rsopt.data.problems import REFUSED, Findings
from rsopt.data.records import SPLITS, CaptionData
from rsopt.errors import UserError

_FORMATS = (
    "a folder with RSICD's JSON (`images`) or NWPU's ({class: [...]}) and its images, parquet files, "
    "a saved Hugging Face data set, or a hub id such as arampacha/rsicd"
)


def read(path_or_id: str | Path, skip_bad: bool = False, verify: bool = False) -> CaptionData:
    """Read the data set at a path or of a hub id, clean its captions and check its files.

    `verify` also decodes all images (once while files are unchanged) to find truncated ones. `skip_bad` leaves out problems
    that would be refused and counts them in `skipped`; it implies `verify`. Raises UserError if problems would make scores
    wrong, or if a split has no image.
    """
    checked = check(find(path_or_id))
    data, findings = checked.data, checked.findings
    if verify or skip_bad:
        broken = broken_images(data.samples)
        for image_id, reason in broken.items():
            findings.add("broken_image", f"{image_id} ({reason})")
        data = replace(data, samples=tuple(s for s in data.samples if s.image_id not in broken))
    refused = findings.problems(REFUSED)
    if refused and not skip_bad:
        problems = "; ".join(map(str, refused))
        raise UserError(f"{path_or_id}: {problems}. Correct them, or leave them out with --skip-bad")
    for split in SPLITS:
        if not data.split(split):
            raise UserError(f"{path_or_id}: the {split} split has no usable image; {_sizes(data, findings)}")
    return replace(data, skipped={problem.kind: problem.count for problem in refused})


def find(path_or_id: str | Path) -> Listing:
    """Read the listing of a data set without checks. Raises UserError if there is none in a known format."""
    path = Path(path_or_id).expanduser()
    if path.is_file() and path.suffix == ".json":
        return _json(path, load_json(path))
    if path.exists():
        return _folder(path)
    if is_hub_id(str(path_or_id)):
        from rsopt.data.formats.hub import cached_parquet  # the hub client takes a second to import

        return read_hugging_face(cached_parquet(str(path_or_id)), name=str(path_or_id))
    raise UserError(f"data '{path_or_id}': no such folder; allowed are {_FORMATS}")


def is_hub_id(text: str) -> bool:
    """Whether text has the form `owner/name` and does not look like a path."""
    owner, slash, name = text.partition("/")
    return bool(owner and slash and name) and "/" not in name and not text.startswith((".", "~", "/"))


def _folder(path: Path) -> Listing:
    named = _jsons(path, "dataset*.json")
    if not any(map(_is_listing, named.values())):
        if is_hugging_face(path):  # its dataset_info.json lists no images
            return read_hugging_face(path)
        named = named or _jsons(path, "*.json") or _jsons(path, "*/dataset*.json")
    listings = {file: content for file, content in named.items() if _is_listing(content)}
    if len(listings) > 1:
        raise UserError(
            f"{path}: several listings ({', '.join(f.relative_to(path).as_posix() for f in listings)}); name the file instead"
        )
    for file, content in listings.items():
        return _json(file, content)
    problems = "; ".join(f"{file.name} has no `images`" for file in list(named)[:3])
    raise UserError(f"data '{path}': {problems or 'no dataset*.json and no parquet file in it'}; allowed are {_FORMATS}")


def _jsons(path: Path, pattern: str) -> dict[Path, Any]:
    return {file: load_json(file) for file in sorted(path.glob(pattern)) if file.name != CLASSES_FILE}


def _is_listing(content: Any) -> bool:
    return isinstance(content, dict) and ("images" in content or is_nwpu(content))


def _json(file: Path, content: Any) -> Listing:
    if isinstance(content, dict) and "images" in content and not is_nwpu(content):
        return read_karpathy(file, content)
    if is_nwpu(content):
        return read_nwpu(file, content)
    raise UserError(f"{file}: has no `images`; allowed are {_FORMATS}")


def _sizes(data: CaptionData, findings: Findings) -> str:
    sizes = ", ".join(f"{split} {len(data.split(split))}" for split in SPLITS)
    left_out = "; ".join(map(str, findings.problems(REFUSED)))
    return f"usable images: {sizes}" + (f" ({left_out})" if left_out else "")
