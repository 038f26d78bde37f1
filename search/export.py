"""python -m search.export: write a trial of a study as a checked model with its scores on the test split."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

from rsopt.cli import Parser, as_called, command, whole
from rsopt.common.atomic_files import check_new
from rsopt.core.baseline import in_one_line
from rsopt.core.inference import BEAMS, MOST_BEAMS, Weights
from rsopt.core.leg_files import rung_folder
from rsopt.errors import UserError
from rsopt.model.export_manifest import MANIFEST, ExportManifest
from search.results.picks import PICKS, choose
from search.study.options import add_study_options
from search.study.settings import load_study, study_folder
from search.tracking.environment import configure

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
        description="Write a trial of a study as a model that plain transformers loads: merged weights in safetensors with a "
        "model card and its scores on the test split.",
        epilog=EPILOG,
    )
    add_study_options(p)
    p.add_argument(
        "--pick", metavar="P", help=f"{', '.join(PICKS)} or a trial's number (default: knee; with --max-latency-ms best_cider)"
    )
    p.add_argument("--max-latency-ms", type=float, metavar="X", help="consider only trials of at most this latency, milliseconds")
    p.add_argument("--out", required=True, metavar="DIR", help="folder to write: a new or an empty one")
    p.add_argument("--adapter-only", action="store_true", help="write the LoRA adapter for PEFT instead of a merged model")
    p.add_argument(
        "--dtype",
        choices=get_args(Weights),
        help="precision of the weights (default: the one the trial was measured in); int8 and int4 need bitsandbytes",
    )
    p.add_argument(
        "--beams",
        type=whole(1, MOST_BEAMS),
        default=BEAMS,
        metavar="N",
        help="beams the model generates with (default: %(default)s)",
    )
    p.add_argument("--as-searched", action="store_true", help="export the search's own training even where there is a refit")
    p.add_argument("--register", action="store_true", help="also register the model in the study's MLflow under an alias")
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, check, export, print where it is."""
    options = parser().parse_args(argv)
    if options.adapter_only and options.beams != BEAMS:
        raise UserError("an adapter holds no generation settings; leave --beams out")
    if options.adapter_only and options.register:
        raise UserError("--register needs a whole model; leave --adapter-only out")
    out = Path(options.out)
    check_new(out)
    folder = study_folder(options.storage, options.name)
    from search.results.below_baselines import baseline_warnings  # after parsing: SciPy takes most of a second to import
    from search.results.build_front import study_front

    front = study_front(folder)
    trial = choose(front, options.pick, options.max_latency_ms)
    settings, metadata = load_study(folder)
    if trial.baseline is not None:
        model = rung_folder(folder, trial.id, 1.0) / "model"
        raise UserError(
            f"trial {trial.id} is {trial.name}, which is no BLIP-2: it is kept in {model}; "
            f"python -m rsopt.baselines caption {model} --base {settings.base} IMAGE..."
        )
    if options.adapter_only and trial.variant.lora is None:
        raise UserError(f"trial {trial.id} was not tuned, so it has no adapter; export it without --adapter-only")
    if front.verdict is not None:
        say(front.verdict)
    for line in baseline_warnings(front):
        say(f"warning: {line}")
    say(f"trial {trial.id} of {settings.name}: {trial.name}")
    # After the checks: torch and transformers take seconds to import.
    from search.followup.export_trial import export_trial
    from search.followup.rebuilt_trial import ExportRequest
    from search.study.journal import read_history

    name = options.pick if options.pick in PICKS else None
    if options.pick is None:
        name = "knee" if options.max_latency_ms is None else f"the best CIDEr within {options.max_latency_ms:g} ms"
    request = ExportRequest(trial, name, options.adapter_only, options.dtype, options.beams, not options.as_searched)
    state = read_history(folder)[trial.id]
    manifest = export_trial(settings, metadata, front, state, request, out, say)
    _report(manifest, out)
    if options.register:
        configure()
        from search.tracking.registry import register

        alias = options.pick if options.pick in PICKS else name if name in PICKS else f"trial-{trial.id}"
        version = register(settings, trial.id, out, alias)
        sys.stdout.write(f"registered  models:/{version.name}@{alias} (version {version.version})\n")
    return 0


def say(text: str) -> None:
    """Progress, on stderr: stdout is for results."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _report(manifest: ExportManifest, out: Path) -> None:
    test, check, refit = manifest.test, manifest.check, manifest.refit
    low, high = test.intervals["cider"]
    lines = [
        "training    "
        + (
            f"refit {refit.number}, {refit.epochs:g} epochs, seed {refit.seed}: best on validation of {refit.seeds}"
            if refit
            else "the search's own"
        ),
        f"written     {out} ({manifest.params:,} parameters, {manifest.size_mb:.2f} MB in {manifest.dtype})",
        f"checked     {check.images} images: captions of the reloaded folder equal those of the model in memory; "
        f"{check.same_as_study} equal to the study's own",
        f"test split  CIDEr {test.metrics['cider']:.1f} ({low:.1f} to {high:.1f}) on {test.images} images; "
        + f"baselines: {in_one_line(test.baselines)}",
        f"card        {out / 'README.md'}, numbers in {out / MANIFEST}",
    ]
    if not manifest.adapter_only:
        lines.append(f"next        python -m rsopt.caption --model {out} IMAGE...")
    sys.stdout.write(as_called("\n".join(lines)) + "\n")


if __name__ == "__main__":
    sys.exit(command(main))
