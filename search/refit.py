"""python -m search.refit: train picks of a study again over several seeds, and compare them on the test split."""

from __future__ import annotations

import json
import sys

from rsopt.cli import EXIT_FAILED, EXIT_INTERRUPTED, Parser, add_json, command, positive, whole
from rsopt.errors import UserError
from search.results.front import Front
from search.results.picks import PICKS, choose, neighbours, unpruned
from search.study.options import add_study_options
from search.study.settings import local_study_folder
from search.tracking.environment import configure

EPILOG = """\
examples:
  python -m search.refit --name pruning-1
      the knee, its neighbours on the front and the unpruned model, three seeds each, as long as in the search
  python -m search.refit --name pruning-1 --pick 7,unpruned --epochs 20 --seeds 5

A killed refit continues with the same command and trains nothing twice. python -m search.export then takes the refit
model.
"""
NEIGHBOURS, UNPRUNED = "neighbours", "unpruned"
MOST_SEEDS = 100


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="python -m search.refit",
        description="Train picks again over several seeds, score them on the test split and compare them: means, spread, "
        "paired tests.",
        epilog=EPILOG,
    )
    add_study_options(p, "workers", "address")
    p.add_argument(
        "--pick",
        default=f"knee,{NEIGHBOURS},{UNPRUNED}",
        metavar="P,...",
        help=f"{', '.join(PICKS)} or a trial's number; {NEIGHBOURS}: the trials next to each of them on the front; "
        f"{UNPRUNED}: full depth with LoRA (default: %(default)s)",
    )
    p.add_argument(
        "--epochs", type=positive(), metavar="N", help="length of each training (default: the trial's own in the search)"
    )
    p.add_argument("--seeds", type=whole(1, MOST_SEEDS), default=3, metavar="N", help="trainings of each (default: %(default)s)")
    add_json(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, check, train what is missing, report."""
    options = parser().parse_args(argv)
    folder = local_study_folder(options.storage, options.name, "search.refit")
    from search.results.build_front import study_front  # after parsing: SciPy takes most of a second to import

    front = study_front(folder)
    picked, wanted = parse_picks(front, options.pick)
    # After the checks: Ray, torch and MLflow take seconds to import.
    configure()
    from search.followup.refit_report import print_refits
    from search.followup.refit_session import refit

    outcome = refit(folder, front, picked, wanted, options)
    if options.json:
        sys.stdout.write(json.dumps(outcome.summary.to_json(), indent=1) + "\n")
    else:
        print_refits(outcome.summary)
        sys.stdout.writelines(f"{line}\n" for line in outcome.notes)
    return EXIT_INTERRUPTED if outcome.interrupted else EXIT_FAILED if outcome.stopped else 0


def parse_picks(front: Front, words: str) -> tuple[list[int], list[int]]:
    """Numbers of the trials that --pick names, which are compared, and of all that are trained.

    Raises UserError for an unknown pick and for a trial that cannot be trained again.
    """
    names = [word.strip() for word in words.split(",") if word.strip()]
    named = [choose(front, name) for name in names if name not in (NEIGHBOURS, UNPRUNED)]
    if not named:
        raise UserError(f"--pick needs a pick or a trial's number besides {NEIGHBOURS} and {UNPRUNED}, not '{words[:60]}'")
    trained = list(named)
    if NEIGHBOURS in names:
        trained += [other for trial in named for other in neighbours(front, trial)]
    if UNPRUNED in names:
        if (whole := unpruned(front)) is None:
            raise UserError(f"study '{front.study}' has not finished its unpruned model; leave {UNPRUNED} out")
        trained.append(whole)
    for trial in trained:
        if trial.variant.lora is None and trial in named:
            raise UserError(f"trial {trial.id} was not tuned, so there is nothing to train again")
    numbers = list(dict.fromkeys(t.id for t in trained if t.variant.lora is not None))
    return list(dict.fromkeys(t.id for t in named)), numbers


if __name__ == "__main__":
    sys.exit(command(main))
