"""The comparison in the form that was asked for: JSON, one HTML file, or Markdown on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from research.hand_made_study.content import compare
from research.hand_made_study.html import page
from research.hand_made_study.markdown import markdown
from research.hand_made_study.sections import sections
from rsopt.common.atomic_files import write_asked
from rsopt.errors import UserError
from rsopt.scores.java_process import JavaError


def write_report(
    folder: Path, captions: Sequence[tuple[str, Path]], baselines: Path | None, meteor: bool, as_json: bool, html: str
) -> None:
    """Compare the study in `folder` with the hand-made one and write the result.

    Args:
        folder: the study's folder.
        captions: name and captions file of other systems, each a row of its own.
        baselines: folder of a study of other captioners, None without one.
        meteor: score METEOR too, which needs Java.
        as_json: print JSON.
        html: file to write HTML to; "" prints Markdown, unless `as_json`.

    Raises:
        UserError: where METEOR cannot be scored.
    """
    try:
        comparison = compare(folder, captions, baselines, meteor=meteor)
    except JavaError as error:
        raise UserError(f"METEOR: {error}; --no-meteor leaves it out") from error
    title = f"The hand-made study beside {comparison.study}"
    if as_json:
        sys.stdout.write(json.dumps(comparison.to_json(), indent=1, allow_nan=False) + "\n")
    elif html:
        write_asked(Path(html), page(title, sections(comparison)))
        sys.stdout.write(f"{html}\n")
    else:
        sys.stdout.write(markdown(title, sections(comparison)))
