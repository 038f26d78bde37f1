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
from rsopt.core.baseline import BaselineScore, baselines_from_json, baselines_to_json, notes_on
from rsopt.data.check import check
from rsopt.data.formats.karpathy import load_json
from rsopt.data.read import find
from rsopt.errors import UserError
from rsopt.scores.baselines import baselines_beside, baselines_from_references
from rsopt.scores.java_process import JavaError
from rsopt.scores.scorer import Scorer

METRICS = {**{f"bleu_{n}": f"BLEU-{n}" for n in range(1, 5)}, "meteor": "METEOR", "rouge_l": "ROUGE-L", "cider": "CIDEr"}
EPILOG = """\
example:
  python -m rsopt.scores --references references.json --candidates captions.json
  python -m rsopt.scores --references references.json --candidates captions.json --data RSICD

Baselines are CIDEr on the same images, under the same protocol. With --data they are from its training captions, else from the
other references; a class is then the part of a name before its number (airport_1.jpg).
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
        scores, notes = score(references, candidates, not options.no_meteor, options.data)
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
    references: Mapping[str, list[str]], candidates: Mapping[str, str], meteor: bool = True, data: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Return all metrics x100 as `--json` prints them, and notes for the reader. A score that does not exist is absent.

    `baselines` are from the training captions of `data`, else from the references, and absent where CIDEr is 0 for any captions.
    """
    scorer = Scorer(references)
    measured = scorer.measure(candidates, with_meteor=meteor)
    scores: dict[str, Any] = {name: measured.corpus[name] for name in METRICS if name in measured.corpus}
    notes = [scorer.degenerate] if scorer.degenerate else []
    baselines = _baselines(scorer, references, data) if not scorer.degenerate else {}
    if below := [name for name, score in baselines.items() if name != "people" and scores["cider"] < score.cider]:
        notes.append(f"these captions score less than {' and '.join(below)}: CIDEr {scores['cider']:.1f}")
    if baselines:
        scores["baselines"] = baselines_to_json(baselines)
        notes += notes_on(baselines)
    if baselines and data is None:
        notes.append(
            "blind baselines are from the other references of these images, not from training captions, and higher than from "
            "those, as a rule; --data D gives the latter"
        )
    scores["images"] = len(references)
    scores["intervals"] = {name: list(measured.intervals[name]) for name in METRICS if name in measured.intervals}
    assert all(math.isfinite(value) for name, value in scores.items() if name in METRICS), scores
    return scores, notes


def _baselines(scorer: Scorer, references: Mapping[str, list[str]], data: str | None) -> dict[str, BaselineScore]:
    """Baselines from the training captions of a data set, whose image files may be missing, else from the references."""
    if data is None:
        return baselines_from_references(scorer, references)
    checked = check(find(data))
    of_id = {s.image_id: s for s in (*checked.data.samples, *checked.without_file)}
    if unknown := [i for i in references if i not in of_id]:
        raise UserError(f"{data}: {len(unknown)} images of the references are not in it: {', '.join(unknown[:3])}")
    if trained := [i for i in references if of_id[i].split == "train"]:
        raise UserError(f"{data}: {len(trained)} images of the references are in its training split: {', '.join(trained[:3])}")
    train = [s for s in of_id.values() if s.split == "train"]
    if not train:
        raise UserError(f"{data}: its training split has no image")
    return baselines_beside(scorer, train, [of_id[i] for i in references])


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
    p.add_argument("--data", metavar="D", help="data set of these images, for baselines from its training captions")
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
