"""Export: what comes out is the model that was measured, runs without this project, and nothing is left half written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import pytest

from rsopt.cli import command
from rsopt.core.variant import ranges
from rsopt.data.read import read
from rsopt.model.export_manifest import MANIFEST, ExportManifest, ReloadCheck
from rsopt.model.model_card import model_card
from search.export import main
from search.results.build_front import build_front, study_front
from search.results.front import Front
from search.results.picks import PICKS, choose
from search.study.settings import Settings, load_study
from tests.support.example_study import HISTORY, METADATA


def export(study: Settings, out: Path, *options: str) -> int:
    return command(main, ["--name", study.name, "--storage", study.storage, "--out", str(out), *options])


@pytest.fixture(scope="module")
def knee(small_study: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "knee"
    assert export(small_study, out, "--pick", "knee") == 0
    return out


def stranger(folder: Path, study: Settings, base: str | None = None) -> list[str]:
    """The card's own script, run in the exported folder on the images of its manifest, without this project on the path."""
    found = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert found
    script = found[1] if base is None else found[1].replace('"rsopt/tiny"', json.dumps(base))
    script = "import torch; torch.set_num_threads(1)\nassert 'rsopt' not in __import__('sys').modules\n" + script
    (folder / "use.py").write_text(script)
    paths = {s.image_id: str(s.path) for s in read(load_study(study.folder)[1].data_path).split("val")}
    images = [paths[i] for i in ExportManifest.read(folder).captions]
    done = subprocess.run([sys.executable, "-I", "use.py", *images], cwd=folder, capture_output=True, text=True)
    (folder / "use.py").unlink()
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_the_cards_script_gives_the_recorded_captions(knee: Path, small_study: Settings) -> None:
    manifest = ExportManifest.read(knee)
    assert stranger(knee, small_study) == list(manifest.captions.values())
    assert manifest.check == ReloadCheck(images=12, same_as_study=12), "these are the captions that were measured"


def test_sizes_and_scores_are_those_of_the_front_and_the_test_split_is_scored_once(
    knee: Path, small_study: Settings, tmp_path: Path
) -> None:
    from safetensors import safe_open

    front = study_front(small_study.folder)
    metrics = next(t for t in front.trials if t.id == front.picks["knee"]).metrics
    manifest = ExportManifest.read(knee)
    with safe_open(knee / "model.safetensors", "pt") as file:
        stored = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    written = json.dumps(manifest.to_json(), indent=1, ensure_ascii=False) + "\n"
    assert (knee / MANIFEST).read_text() == written, "what was read is written byte for byte"
    assert manifest.params == stored == metrics["params"]
    assert manifest.size_mb == metrics["size_mb"]
    assert manifest.latency is not None and manifest.latency.device
    assert manifest.latency.record["latency_ms"] == metrics["latency_ms"]
    assert manifest.validation == metrics
    assert set(manifest.test.metrics) >= {"cider", "meteor", "bleu_4"} and manifest.test.images == 12
    config = json.loads((knee / "generation_config.json").read_text())
    assert (config["num_beams"], config["max_new_tokens"]) == (5, 50)

    kept = small_study.folder / "candidates" / f"{manifest.trial:04d}" / "test-float32.json"
    marked = json.loads(kept.read_text())
    marked["scores"]["metrics"]["cider"] = 123.456
    before = kept.read_text()
    kept.write_text(json.dumps(marked))
    assert export(small_study, tmp_path / "again") == 0
    kept.write_text(before)
    assert ExportManifest.read(tmp_path / "again").test.metrics["cider"] == 123.456


def test_an_adapter_is_put_on_by_its_cards_script(small_study: Settings, tmp_path: Path) -> None:
    from rsopt.model import configs

    assert export(small_study, tmp_path / "lora", "--adapter-only") == 0
    manifest = ExportManifest.read(tmp_path / "lora")
    assert not (tmp_path / "lora" / "model.safetensors").exists()
    captions = stranger(tmp_path / "lora", small_study, str(configs.TINY))
    assert captions == list(manifest.captions.values())


def test_another_dtype_halves_the_file(knee: Path, small_study: Settings, tmp_path: Path) -> None:
    assert export(small_study, tmp_path / "half", "--dtype", "bfloat16") == 0
    whole, half = ((f / "model.safetensors").stat().st_size for f in (knee, tmp_path / "half"))
    assert 0.49 < half / whole < 0.52
    assert ExportManifest.read(tmp_path / "half").test.dtype == "bfloat16"


REFUSED = {
    "unknown pick": (["--pick", "best"], "known are knee, best_cider, fastest, smallest"),
    "unknown trial": (["--pick", "99"], "there is no trial 99"),
    "unfinished trial": (["--pick", "3"], "trial 3 is interrupted"),
    "limit that nothing meets": (["--max-latency-ms", "0.5"], "the nearest is trial"),
    "trial beyond the limit": (["--pick", "1", "--max-latency-ms", "0.5"], "trial 1 takes"),
    "limit below zero": (["--max-latency-ms", "-1"], "above 0"),
    "adapter of the untuned base": (["--pick", "0", "--adapter-only"], "no adapter"),
    "adapter in another precision": (["--adapter-only", "--dtype", "float16"], "leave --dtype float16 out"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_line_and_write_nothing(
    case: str, small_study: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options, says = REFUSED[case]
    assert export(small_study, tmp_path / "out", *options) == 2
    error = capfd.readouterr().err.splitlines()
    assert error[-1].startswith("error: ") and says in error[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_and_a_study_without_finished_trials_are_refused(
    small_study: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    assert export(small_study, tmp_path / "out") == 2
    assert "not empty" in capfd.readouterr().err
    empty = tmp_path / "runs" / small_study.name
    empty.mkdir(parents=True)
    shutil.copy(small_study.folder / "study.json", empty)
    lines = (small_study.folder / "journal.log").read_text().splitlines(keepends=True)
    (empty / "journal.log").write_text("".join(takewhile(lambda line: '"complete"' not in line, lines)))
    argv = ["--name", small_study.name, "--storage", str(tmp_path / "runs"), "--out", str(tmp_path / "new")]
    assert command(main, argv) == 2
    assert "no finished trial" in capfd.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_model_that_captions_otherwise_is_not_put_in_place(
    small_study: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard itself: weights that are not those of the trial."""
    from search.followup import rebuilt_trial

    monkeypatch.setattr(rebuilt_trial, "load_weights", lambda built, state: None)
    assert export(small_study, tmp_path / "out") == 2
    assert list(tmp_path.iterdir()) == []


def front() -> Front:
    return build_front("s", METADATA, HISTORY)


def test_picks_under_a_limit_are_those_of_what_is_within() -> None:
    assert [choose(front(), pick).id for pick in PICKS] == [2, 1, 4, 4]
    assert choose(front()).id == 2
    assert choose(front(), max_latency_ms=46).id == 2
    assert choose(front(), max_latency_ms=30).id == 4
    assert choose(front(), "best_cider", max_latency_ms=30).id == 4


def test_the_card_says_what_the_search_was_for_and_how_sure_its_latency_is(knee: Path, small_study: Settings) -> None:
    manifest = ExportManifest.read(knee)
    assert manifest.found.verdict == study_front(small_study.folder).verdict is not None
    assert manifest.found.verdict in (knee / "README.md").read_text()
    for mark, says in (("predicted", "it is predicted from"), ("disturbed", "Other work disturbed")):
        card = model_card(replace(manifest, validation={**manifest.validation, f"latency_{mark}": 1.0}))
        assert f"| latency, {mark} |" in card and says in card
        assert ("median of" in card) == (mark == "disturbed"), "a prediction has no runs"
    plain = model_card(replace(manifest, validation={**manifest.validation, "latency_disturbed": 0.0}))
    assert "| latency |" in plain and "Other work" not in plain


def test_names_of_users_stay_text_in_the_card(knee: Path) -> None:
    manifest = replace(ExportManifest.read(knee), base="org/`evil`\n# heading")
    assert "\n# heading" not in model_card(manifest)


def test_ranges() -> None:
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
