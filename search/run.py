"""python -m search.run: the search, from a space to a Pareto front."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rsopt.cli import Parser, command
from search.space.load import known_spaces

EPILOG = """\
examples:
  python -m search.run --space pruning
      the embedded default: the tiny base on the generated data set, minutes on a CPU
  python -m search.run --space pruning --base Salesforce/blip2-opt-2.7b --data RSICD
      the real thing: RSICD is a folder with dataset_rsicd.json and RSICD_images/

Ctrl-C keeps what is finished, prints its front and exits with 130; --resume --name S goes on.
"""


def parser() -> Parser:
    """The command's options; their help shows units and defaults."""
    p = Parser(
        prog="python -m search.run",
        description="Search for captioners with the best CIDEr at the least latency and parameters.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--space", metavar="NAME_OR_FILE", help=f"search space: {', '.join(known_spaces())}, or a YAML file")
    p.add_argument("--base", default="tiny", metavar="B", help="tiny, a folder or a hub id (default: %(default)s)")
    p.add_argument("--data", metavar="D", help="folder in RSICD's layout (default: mini, generated on first use)")
    p.add_argument(
        "--skip-bad", action="store_true", help="leave broken images and the like out instead of refusing the data"
    )
    p.add_argument(
        "--trials", type=int, metavar="N", help="candidates beside the two reference points (default: the space's)"
    )
    p.add_argument("--name", metavar="S", help="name of the study (default: the space's name with a number)")
    p.add_argument("--resume", action="store_true", help="go on with the study of that --name; needs no other option")
    p.add_argument(
        "--seed", type=int, default=0, metavar="S", help="all randomness comes from it (default: %(default)s)"
    )
    p.add_argument(
        "--sampler",
        default="known_cost",
        choices=["known_cost", "tpe", "nsga2", "random"],
        help="what proposes candidates; docs/searchers.md measures them (default: %(default)s)",
    )
    p.add_argument("--no-halving", action="store_true", help="train every candidate to the end")
    p.add_argument("--max-params", type=float, metavar="N", help="limit: parameters of the merged model, such as 3.4e9")
    p.add_argument("--max-latency-ms", type=float, metavar="X", help="limit: milliseconds per caption")
    p.add_argument(
        "--max-memory-gb", type=float, metavar="X", help="limit: predicted peak of training or captioning, GB"
    )
    p.add_argument("--hours", type=float, metavar="H", help="budget: hours of this session")
    p.add_argument(
        "--gpu-hours", type=float, metavar="H", help="budget: hours of all workers together, times their GPU share"
    )
    p.add_argument(
        "--disk-gb",
        type=float,
        metavar="X",
        help="GB for the study's folder: old checkpoints go, never those of the front",
    )
    p.add_argument(
        "--from-study",
        metavar="OTHER",
        help="warm start: learn from that study, or from the newest of mlflow:EXPERIMENT, and try its front first",
    )
    p.add_argument("--dry-run", action="store_true", help="show space, costs and expected time; train nothing")
    p.add_argument("--workers", type=int, metavar="N", help="legs at once (default: one a core, or one a GPU share)")
    p.add_argument(
        "--gpus-per-trial", type=float, default=1.0, metavar="F", help="GPU share of a leg (default: %(default)s)"
    )
    p.add_argument(
        "--address",
        metavar="A",
        help="Ray cluster to join, such as auto (default: $RAY_ADDRESS, else a local one)",
    )
    p.add_argument("--latency-ledger", metavar="F", help="recorded latencies to start from (a study's latency.jsonl)")
    p.add_argument(
        "--latency-device",
        metavar="NAME",
        help="device model whose latency counts, such as 'NVIDIA H100 80GB HBM3': on other workers it comes from the ledger",
    )
    p.add_argument(
        "--tracking-uri", metavar="U", help="MLflow (default: $MLFLOW_TRACKING_URI, else mlflow.db beside runs/)"
    )
    p.add_argument(
        "--storage",
        default="runs",
        metavar="DIR",
        help="folder of the studies, or s3://BUCKET/PREFIX (default: %(default)s)",
    )
    return p


def given(argv: list[str] | None) -> dict[str, Any]:
    """The options that were typed, without the defaults of the others."""
    typed = parser()
    for action in typed._actions:
        action.default = argparse.SUPPRESS
    return vars(typed.parse_args(argv))


def main(argv: list[str] | None = None) -> int:
    """Parse, check everything that can be wrong, search, report."""
    options = parser().parse_args(argv)
    options.given = given(argv)
    # After parsing: Ray, Optuna and MLflow take seconds to import, --help should not.
    from search.session.resume import continue_session
    from search.session.start import new_session

    if options.resume:
        return continue_session(options)
    return new_session(options)


if __name__ == "__main__":
    sys.exit(command(main))
