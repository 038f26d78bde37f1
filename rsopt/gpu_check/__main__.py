"""python -m rsopt.gpu_check: does the base fit on this GPU, is fast code right here, and what will a trial cost?"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from rsopt.cli import Parser, add_json, command, whole

EPILOG = """\
examples:
  python -m rsopt.gpu_check                                        shapes of BLIP-2 with OPT-2.7b, random weights
  python -m rsopt.gpu_check --base Salesforce/blip2-opt-2.7b       the real weights
  python -m rsopt.gpu_check --data RSICD                           with the captions of your data
  python -m rsopt.gpu_check --cpu                                  the tiny base on the CPU

Exit code 1 where something does not fit, or fast code does not equal plain code.
"""


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="python -m rsopt.gpu_check",
        description="Check whether a base fits on this GPU with its training and files, whether the fast code (packed "
        "loss, fused LoRA, beam search) equals the plain code here, and what a trial will cost in time.",
        epilog=EPILOG,
    )
    p.add_argument("--base", metavar="B", help="base to check; opt-2.7b and opt-6.7b get random weights (default: opt-2.7b)")
    p.add_argument("--data", metavar="D", help="data set whose captions and images are counted (default: random, like RSICD's)")
    p.add_argument("--skip-bad", action="store_true", help="leave out broken images and rows of --data")
    p.add_argument("--images", type=whole(1), default=64, metavar="N", help="images measured (default: %(default)s)")
    p.add_argument(
        "--batch-images", type=whole(1), default=16, metavar="N", help="images of a training step (default: %(default)s)"
    )
    p.add_argument("--cpu", action="store_true", help="run on the CPU, by default with the tiny base")
    add_json(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, check, print. Returns 1 where a check failed."""
    options = parser().parse_args(argv)
    from rsopt.gpu_check.checks import check_base  # after parsing: torch takes seconds to import

    base, lines = check_base(options.base, options.images, options.batch_images, options.cpu, options.data, options.skip_bad)
    if options.json:
        sys.stdout.write(json.dumps({"base": base.name, "checks": [asdict(line) for line in lines]}) + "\n")
    else:
        marks = {True: "ok ", False: "NO ", None: "   "}
        width = max(len(line.name) for line in lines)
        sys.stdout.write(f"{base.name} on {base.device.type}\n")
        sys.stdout.writelines(f"{marks[line.good]} {line.name:<{width}}  {line.text}\n" for line in lines)
    return 1 if any(line.good is False for line in lines) else 0


if __name__ == "__main__":
    sys.exit(command(main))
