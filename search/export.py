"""python -m search.export: a member of a study as a model to take away, checked and with its test scores."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

from rsopt.cli import Parser, command
from rsopt.common.atomic_files import check_new
from rsopt.core.inference import BEAMS, MOST_BEAMS
from rsopt.core.leg_files import rung_folder
from rsopt.errors import UserError
from rsopt.model.model_card import MANIFEST
from search.results.front import study_front
from search.results.picks import PICKS, choose
from search.study.journal import read_history
from search.study.settings import load_study, study_folder

EPILOG = """\
examples:
  python -m search.export --name pruning-1 --out knee                           the knee
  python -m search.export --name pruning-1 --max-latency-ms 400 --out fast      the best CIDEr within 400 ms
  python -m search.export --name pruning-1 --pick 7 --adapter-only --out lora   trial 7 as an adapter for PEFT
"""


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="python -m search.export",
        description="Take a member of a study away: merged, in safetensors, for plain transformers, with a model card.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--name", required=True, metavar="S", help="name of the study")
    p.add_argument(
        "--pick",
        metavar="P",
        help=f"{', '.join(PICKS)}, or a trial's number (default: knee; best_cider with --max-latency-ms)",
    )
    p.add_argument("--max-latency-ms", type=float, metavar="X", help="only trials within this latency, milliseconds")
    p.add_argument("--out", required=True, metavar="DIR", help="folder to write: a new or an empty one")
    p.add_argument("--adapter-only", action="store_true", help="LoRA unmerged, for PEFT, instead of a whole model")
    p.add_argument(
        "--dtype",
        choices=["float32", "bfloat16", "float16", "int8", "int4"],
        help="of the weights (default: that in which the trial was measured); int8 and int4 are run by bitsandbytes",
    )
    p.add_argument("--beams", type=int, default=BEAMS, metavar="N", help="of its captions (default: %(default)s)")
    p.add_argument(
        "--as-searched", action="store_true", help="the search's own training, although the trial was trained again"
    )
    p.add_argument(
        "--storage",
        default="runs",
        metavar="DIR",
        help="folder of the studies, or s3://BUCKET/PREFIX (default: %(default)s)",
    )
    p.add_argument(
        "--register", action="store_true", help="also register it in the study's MLflow, with the pick as alias"
    )
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, refuse what can be refused, write, say where."""
    options = parser().parse_args(argv)
    folder = study_folder(options.storage, options.name)
    front = study_front(folder)
    trial = choose(front, options.pick, options.max_latency_ms)
    out = Path(options.out)
    check_new(out)
    settings, metadata = load_study(folder)
    if trial["baseline"] is not None:
        model = rung_folder(folder, trial["id"], 1.0) / "model"
        raise UserError(
            f"trial {trial['id']} is {trial['name']}, which is no BLIP-2: it is kept in {model}; "
            f"python -m rsopt.baselines caption {model} --base {settings.base} IMAGE..."
        )
    if options.adapter_only and trial["variant"]["lora"] is None:
        raise UserError(f"trial {trial['id']} was not tuned, so it has no adapter; export it without --adapter-only")
    if not 1 <= options.beams <= MOST_BEAMS:
        raise UserError(f"--beams must be 1 to {MOST_BEAMS}, not {options.beams}")
    if options.adapter_only and options.beams != BEAMS:
        raise UserError("an adapter holds no generation settings; leave --beams out")
    if options.adapter_only and options.register:
        raise UserError("--register needs a whole model; leave --adapter-only out")
    say(f"trial {trial['id']} of {settings.name}: {trial['name']}")
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # of calls of its own
    # After what can be refused at once: torch and transformers take seconds to import.
    from search.followup.export_trial import ExportRequest, export_trial

    name = options.pick if options.pick in PICKS else None
    if options.pick is None:
        name = "knee" if options.max_latency_ms is None else f"the best CIDEr within {options.max_latency_ms:g} ms"
    request = ExportRequest(trial, name, options.adapter_only, options.dtype, options.beams, not options.as_searched)
    state = read_history(folder)[trial["id"]]
    manifest = export_trial(settings, metadata, front, state, request, out, say)
    _report(manifest, out)
    if options.register:
        from search.tracking.registry import register

        alias = options.pick if options.pick in PICKS else name if name in PICKS else f"trial-{trial['id']}"
        version = register(settings, trial["id"], out, alias)
        sys.stdout.write(f"registered  models:/{version.name}@{alias} (version {version.version})\n")
    return 0


def say(text: str) -> None:
    """Progress, on stderr: stdout is for results."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _report(manifest: dict[str, Any], out: Path) -> None:
    test = manifest["test"]
    low, high = test["intervals"]["cider"]
    check, refit = manifest["check"], manifest["refit"]
    lines = [
        "training    "
        + (
            f"refit {refit['number']}, {refit['epochs']:g} epochs, seed {refit['seed']}: best on validation of "
            f"{refit['seeds']}"
            if refit
            else "the search's own"
        ),
        f"written     {out} ({manifest['params']:,} parameters, {manifest['size_mb']:.2f} MB in {manifest['dtype']})",
        f"checked     {check['images']} images: captions of the reloaded folder equal those of the model in memory; "
        f"{check['same_as_study']} equal to the study's own",
        f"test split  CIDEr {test['metrics']['cider']:.1f} ({low:.1f} to {high:.1f}) on {test['images']} images; "
        + ", ".join(f"floor {name.replace('_', ' ')} {value:.1f}" for name, value in test["floor"].items()),
        f"card        {out / 'README.md'}, numbers in {out / MANIFEST}",
    ]
    if not manifest["adapter_only"]:
        lines.append(f"next        python -m rsopt.caption --model {out} IMAGE...")
    sys.stdout.write("\n".join(lines) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """`manifest.json` of an exported folder. Raises UserError where there is none."""
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"folder '{folder}' is no export: it has no {MANIFEST}")
    return json.loads(path.read_text())


if __name__ == "__main__":
    sys.exit(command(main))
