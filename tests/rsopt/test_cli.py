"""What a disk refuses is one line and no fault of a candidate; what is damaged is said to be."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rsopt.cli import EXIT_FAILED, EXIT_USAGE, Parser, command
from rsopt.errors import refusal


def test_a_full_or_read_only_disk_is_one_line_and_a_bug_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def main(error: OSError):
        def run(argv: list[str] | None) -> int:
            raise error

        return run

    for number in (errno.ENOSPC, errno.EROFS, errno.EDQUOT):
        assert command(main(OSError(number, "refused", "/runs/s/x"))) == EXIT_FAILED
    assert capsys.readouterr().err == "error: /runs/s/x: refused\n" * 3
    with pytest.raises(ConnectionResetError):
        command(main(ConnectionResetError(errno.ECONNRESET, "reset")))
    assert refusal(OSError(errno.ECONNRESET, "reset")) is None


def test_options_that_no_name_holds_are_refused_before_anything_looks_them_up(capsys: pytest.CaptureFixture[str]) -> None:
    def main(argv: list[str] | None) -> int:
        parser = Parser()
        parser.add_argument("--name")
        parser.parse_args(argv)
        return 0

    for word in ("a\0b", "a\nb", "x" * 5000):
        assert command(main, ["--name", word]) == EXIT_USAGE
    assert command(main, ["--name", "Überflug – поиск"]) == 0
    assert capsys.readouterr().err.count("\n") == 3


SAVE = """
import sys; from pathlib import Path; import torch; from rsopt.errors import InfrastructureError
from rsopt.training.trainer import Trainer
class Stepper: state = lambda self: {"weight": torch.zeros(1_000_000)}
trainer = Trainer.__new__(Trainer); trainer.stepper = Stepper()
try: trainer.save(Path(sys.argv[1]))
except InfrastructureError as error: sys.exit(7)
"""


def test_a_checkpoint_that_the_disk_refuses_is_not_the_candidates_fault(tmp_path: Path) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run([sys.executable, "-c", SAVE, tmp_path / "x"], preexec_fn=limited, cwd=Path(__file__).parents[2])
    assert done.returncode == 7


def test_a_damaged_checkpoint_is_the_candidates_end_alone(tmp_path: Path) -> None:
    from rsopt.training.trainer import Trainer

    path = tmp_path / "state.safetensors"
    save_file({"weight": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:500])
    trainer = Trainer.__new__(Trainer)
    trainer.stepper = None  # type: ignore[assignment]  # never asked: the file is no checkpoint
    with pytest.raises(ValueError, match=r"state\.safetensors"):
        trainer.load(path)
