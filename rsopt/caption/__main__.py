"""python -m rsopt.caption: caption image files, the images in folders, or paths read from stdin."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, get_args

from rsopt.cli import EXIT_FAILED, Parser, add_json, command, whole
from rsopt.core.inference import BATCH, BEAMS
from rsopt.core.variant import Dtype
from rsopt.data.records import Sample
from rsopt.errors import UserError
from rsopt.model.export_manifest import MANIFEST

if TYPE_CHECKING:
    from rsopt.model.base import Base

EPILOG = """\
examples:
  python -m rsopt.caption --model knee airport_1.jpg
  python -m rsopt.caption --model knee pictures/ --json > captions.jsonl
  find pictures -name '*.tif' | python -m rsopt.caption --model knee -

One line an image: its path, a tab, its caption. Pictures that cannot be read are named on stderr, and the exit code is 1.
"""


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="python -m rsopt.caption",
        description="Caption images: 5 beams, or those that the model was exported with; at most 50 new tokens.",
        epilog=EPILOG,
    )
    p.add_argument("--model", required=True, metavar="DIR", help="an exported folder, or a base: tiny, a hub id")
    p.add_argument("images", nargs="+", metavar="IMAGE", help="files, folders (all pictures below), or - for stdin")
    add_json(p, 'a JSON object for each image, {"image", "caption"},')
    p.add_argument("--batch", type=whole(1), metavar="N", help="images at once (default: 20 on a CPU, 64 on a GPU)")
    p.add_argument("--dtype", choices=get_args(Dtype), help="precision to run in (default: that of the weights)")
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, load, caption as the paths come in."""
    options = parser().parse_args(argv)
    paths = find_images(options.images, sys.stdin)
    base = load_model(options.model, options.dtype)
    try:
        parts = _parts(paths, options.batch or BATCH[base.device.type])
        return _caption(base, parts, beams_of(Path(options.model)), options.json)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _caption(base: Base, parts: Iterator[list[Path]], beams: int, as_json: bool) -> int:
    from rsopt.caption.captioner import Captioner

    begin, good, bad = time.perf_counter(), 0, 0
    captioner = Captioner(base.model, base, beams)
    for part in parts:
        samples = []
        for path in part:
            if (fault := _fault(path)) is None:
                samples.append(Sample(str(path), "", (), path=path))
            else:
                bad += 1
                sys.stderr.write(f"not read: {path} ({fault})\n")
        for image, caption in captioner(samples).items():
            line = json.dumps({"image": image, "caption": caption}, ensure_ascii=False)
            sys.stdout.write((line if as_json else f"{image}\t{caption}") + "\n")
        sys.stdout.flush()
        good += len(samples)
    seconds = time.perf_counter() - begin
    sys.stderr.write(f"{good} images in {seconds:.1f} s, {good / seconds:.1f} images/s on {base.device}\n")
    return EXIT_FAILED if bad else 0


def beams_of(folder: Path) -> int:
    """Beams that an export was measured with, by its manifest; the protocol's for any other model."""
    path = folder / MANIFEST
    manifest = json.loads(path.read_text()) if path.is_file() else {}
    return int(manifest.get("protocol", {}).get("beams", BEAMS))


def load_model(name: str, dtype: str | None) -> Base:
    """An exported folder or a base. Raises UserError for what is neither, and for an adapter alone."""
    folder = Path(name)
    if (folder / "adapter_config.json").is_file():
        raise UserError(f"'{name}' holds an adapter alone; export it without --adapter-only, or use its card's script")
    if dtype is None and (folder / "config.json").is_file():
        stored = json.loads((folder / "config.json").read_text()).get("dtype")
        dtype = stored if stored in get_args(Dtype) else None
    from transformers.utils import logging  # after what can be refused: it takes seconds

    from rsopt.model.base import load_base

    logging.disable_progress_bar()
    return load_base(name, dtype=dtype)  # type: ignore[arg-type]


def find_images(names: Sequence[str], stdin: TextIO) -> Iterator[Path]:
    """Paths of the images, in order, those in a folder by name. Raises UserError for a missing path or an empty folder."""
    from PIL import Image

    known = set(Image.registered_extensions())
    paths: list[Path] = []
    for name in names:
        path = Path(name)
        if name == "-":
            continue
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in known and p.is_file())
            if not inside:
                raise UserError(f"folder '{name}' holds no picture")
            paths += inside
        elif path.is_file():
            paths.append(path)
        else:
            raise UserError(f"no such image: '{name}'")
    return _with_lines(paths, stdin if "-" in names else ())


def _with_lines(paths: Iterable[Path], lines: Iterable[str]) -> Iterator[Path]:
    yield from paths
    for line in lines:
        if name := line.strip():
            yield Path(name)


def _parts(paths: Iterator[Path], size: int) -> Iterator[list[Path]]:
    while part := list(islice(paths, size)):
        yield part


def _fault(path: Path) -> str | None:
    """Why an image cannot be read, or None. Any exception of a decoder counts as a fault of the file."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
    except Exception as error:  # noqa: BLE001 - decoders raise SyntaxError, struct.error, DecompressionBombError...
        return " ".join(str(error).split())[:200] or type(error).__name__
    return None


if __name__ == "__main__":
    sys.exit(command(main))
