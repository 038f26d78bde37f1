"""The command `python -m rsopt.scores`: all caption metrics, with baselines."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rsopt.cli import Parser, add_json, command
from rsopt.common.text import shown, text_fault
from rsopt.core.baseline import baselines_from_json, baselines_to_json
from rsopt.data.formats.karpathy import load_json
from rsopt.errors import UserError
from rsopt.scores.baselines import baselines_from_references
from rsopt.scores.java_process import JavaError
from rsopt.scores.scorer import Scorer

METRICS = {**{f"bleu_{n}": f"BLEU-{n}" for n in range(1, 5)}, "meteor": "METEOR", "rouge_l": "ROUGE-L", "cider": "CIDEr"}
EPILOG = """\
example:
  python -m rsopt.scores --references references.json --candidates captions.json

Baselines are CIDEr on the same images, under the same protocol. The class of an image comes from names such as airport_1.jpg.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parser().parse_args(argv)
    references = _references(options.references, load_json(options.references))
    candidates = load_json(options.candidates)
    if not isinstance(candidates, dict):
        raise UserError(f"{options.candidates}: must be an object {{image id: caption}}")
    for image_id, caption in candidates.items():
        _check_text(options.candidates, "the caption", image_id, caption)
    try:
        scores, notes = score(references, candidates, meteor=not options.no_meteor)
    except JavaError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    for note in notes:
        sys.stderr.write(f"note: {note}\n")
    if options.json:
        sys.stdout.write(json.dumps(scores, allow_nan=False) + "\n")
    else:
        _print(scores, Console(file=sys.stdout))
    return 0


def score(
    references: Mapping[str, list[str]], candidates: Mapping[str, str], meteor: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """Return all metrics x100 as `--json` prints them, and notes for the reader. A score that does not exist is absent.

    `baselines` are absent where CIDEr is 0 for any captions.
    """
    scorer = Scorer(references)
    measured = scorer.measure(candidates, with_meteor=meteor)
    scores: dict[str, Any] = {name: measured.corpus[name] for name in METRICS if name in measured.corpus}
    notes = [scorer.degenerate] if scorer.degenerate else []
    baselines = {} if scorer.degenerate else baselines_from_references(scorer, references)
    if below := [name for name, score in baselines.items() if name != "people" and scores["cider"] < score.cider]:
        notes.append(f"these captions score less than {' and '.join(below)}: CIDEr {scores['cider']:.1f}")
    if baselines:
        scores["baselines"] = baselines_to_json(baselines)
        notes.append(
            "blind baselines are from the other references of these images, which are nearer to them than training captions: "
            "captions that beat them beat blind baselines from training captions too, as a rule"
        )
    scores["images"] = len(references)
    scores["intervals"] = {name: list(measured.intervals[name]) for name in METRICS if name in measured.intervals}
    assert all(math.isfinite(value) for name, value in scores.items() if name in METRICS), scores
    return scores, notes


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="python -m rsopt.scores",
        description="BLEU-1 to 4, METEOR, ROUGE-L and CIDEr of captions, times 100, with 95 % bootstrap intervals over "
        "images, and the CIDEr of baselines: captioners that never look at the image, and people.",
        epilog=EPILOG,
    )
    p.add_argument("--references", metavar="R.json", type=Path, required=True, help="{image id: [caption, ...]}")
    p.add_argument("--candidates", metavar="C.json", type=Path, required=True, help="{image id: caption}")
    p.add_argument("--no-meteor", action="store_true", help="leave out METEOR (it needs Java, 5 s and 0.5 GB)")
    add_json(p)
    return p


def _references(file: Path, content: Any) -> dict[str, list[str]]:
    if not isinstance(content, dict) or not content:
        raise UserError(f"{file}: must be an object {{image id: [caption, ...]}} with at least one image")
    for image_id, captions in content.items():
        if not isinstance(captions, list) or not captions:
            raise UserError(f"{file}: references of '{shown(image_id)}' must be a list with at least one caption")
        for number, caption in enumerate(captions):
            _check_text(file, f"reference [{number}]", image_id, caption)
    return content


def _check_text(file: Path, what: str, image_id: str, caption: Any) -> None:
    """Raise UserError unless both the image id and its caption are text."""
    if fault := text_fault(image_id):
        raise UserError(f"{file}: the image id '{shown(image_id)}' {fault}")
    if fault := text_fault(caption):
        raise UserError(f"{file}: {what} of '{shown(image_id)}' {fault}")


def _print(scores: dict[str, Any], console: Console) -> None:
    table = Table("x100", "score", "95 % interval", title=f"{scores['images']} images")
    for name, label in METRICS.items():
        if name in scores:
            low, high = scores["intervals"][name]
            table.add_row(label, f"{scores[name]:.2f}", f"{low:.2f} to {high:.2f}")
    for name, score in baselines_from_json(scores).items():
        table.add_row(f"CIDEr of {name}", str(score), "", style="dim")
    console.print(table)


if __name__ == "__main__":
    sys.exit(command(main))
