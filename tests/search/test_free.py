"""Free points: forms that need no training are measured once, smaller where they say so, and can be taken away."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rsopt.cli import command
from rsopt.core.inference import InferenceConfig, default_inference_variants
from rsopt.model.export_manifest import ExportManifest
from search.export import main as export
from search.free import main, measured_trials
from search.results.build_front import build_front, front_variants, study_front
from search.results.inference_variants import InferenceVariant, MeasuredVariant, read_variants, unmeasured
from search.results.refits import RefitScores
from search.study.settings import Settings, load_study
from tests.support.example_study import HISTORY, METADATA

FRONT = build_front("s", METADATA, HISTORY)
GREEDY = InferenceConfig("int8", 1)


def test_one_thing_is_changed_at_a_time_and_then_both() -> None:
    forms = default_inference_variants("float32")
    assert InferenceConfig("float32") not in forms, "that is the trial itself"
    assert {f.name for f in forms} == {
        "float32-beam3",
        "float32-beam1",
        "bfloat16-beam5",
        "int8-beam5",
        "int4-beam5",
        "int8-beam1",
    }
    assert InferenceConfig("float32") in default_inference_variants("bfloat16")
    with pytest.raises(ValueError, match="beams 1 to"):
        InferenceConfig("int8", 0)


def test_the_unpruned_model_is_always_measured_and_shown() -> None:
    history = [replace(c, role="sampled") if c.number == 1 else c for c in HISTORY]
    dominated = replace(HISTORY[1], number=7, rungs=HISTORY[3].rungs)
    front = build_front("s", METADATA, (*history, dominated))
    assert not front.trials[7].pareto
    assert next(t.id for t in measured_trials(front)) == 7
    variant = MeasuredVariant(7, InferenceConfig("int8"), {"cider": 1, "latency_ms": 99, "params": 90})
    assert [v.trial for v in front_variants(front, [variant])] == [7]


def test_a_free_point_is_judged_beside_the_members() -> None:
    def variant(trial: int, cider: float, latency_ms: float) -> MeasuredVariant:
        params = next(t for t in FRONT.trials if t.id == trial).metrics["params"]
        return MeasuredVariant(trial, GREEDY, {"cider": cider, "latency_ms": latency_ms, "params": params})

    fault = MeasuredVariant(2, InferenceConfig("int4"), fault="RuntimeError: no kernel")
    shown = front_variants(FRONT, [variant(2, 69, 30), variant(2, 60, 45), variant(3, 90, 1), fault])
    assert [(v.trial, v.pareto) for v in shown] == [(2, True), (2, False)], "3 is no member, a fault is no point"
    assert [t.id for t in FRONT.trials if t.pareto] == [1, 2, 4], "the front itself is the search's"


@pytest.fixture(scope="module")
def measured(small_study: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A copy of the small study with some forms of trial 2 measured, in this process."""
    from search.execution.work import WorkerSpec
    from search.followup.variant_worker import measure_variants
    from search.study.journal import read_history

    study = replace(small_study, storage=str(tmp_path_factory.mktemp("free") / "runs"))
    shutil.copytree(small_study.folder, study.folder)
    candidate = read_history(study.folder)[2].candidate
    forms = [InferenceConfig("float32", 1), InferenceConfig("bfloat16"), InferenceConfig("int8"), InferenceConfig("int4")]
    points = [InferenceVariant(2, candidate, 1.0, form) for form in forms]
    work = WorkerSpec("tiny", load_study(study.folder)[1].data_path, study.storage, study.name, False)
    before = study.ledger.read_bytes()
    assert [fault for _, fault in measure_variants(work, points)] == [None] * 4
    assert study.ledger.read_bytes() == before, "a search would take these latencies for its own"
    assert unmeasured(study.folder, points) == []
    return study


def test_forms_are_smaller_or_faster_and_none_touches_the_count_of_parameters(measured: Settings) -> None:
    points = {(v.form.weights, v.form.beams): v.metrics or {} for v in read_variants(measured.folder)}
    own = study_front(measured.folder).trials[2].metrics
    assert points["float32", 1]["size_mb"] == pytest.approx(own["size_mb"])
    assert points["bfloat16", 5]["size_mb"] == pytest.approx(own["size_mb"] / 2)
    assert points["int8", 5]["size_mb"] < own["size_mb"] / 2
    assert points["int4", 5]["size_mb"] < 0.6 * own["size_mb"], "tiny's vision tower is 96 wide, and stays"
    assert points["float32", 1]["latency_ms"] < own["latency_ms"]
    assert {m["params"] for m in points.values()} == {own["params"]}
    assert points["int8", 5]["cider"] == pytest.approx(own["cider"], abs=10)


def test_a_free_point_is_exported_and_captions_the_same_in_a_fresh_process(measured: Settings, tmp_path: Path) -> None:
    argv = ["--name", measured.name, "--storage", measured.storage, "--pick", "2", "--dtype", "int8"]
    out = tmp_path / "int8"
    assert command(export, [*argv, "--out", str(out)]) == 0
    manifest = ExportManifest.read(out)
    assert manifest.dtype == "int8" and manifest.protocol.beams == 5
    assert manifest.check.same_as_study == manifest.check.images, "of the point as it was measured"
    assert manifest.size_mb == pytest.approx((out / "model.safetensors").stat().st_size / 1e6, rel=0.05)
    assert manifest.latency is not None and manifest.latency.dtype == "int8"
    from rsopt.data.read import read

    paths = {s.image_id: s.path for s in read(load_study(measured.folder)[1].data_path).split("val")}
    some = list(manifest.captions)[:4]
    ran = subprocess.run(
        [sys.executable, "-m", "rsopt.caption", "--model", str(out), "--json", *(str(paths[i]) for i in some)],
        capture_output=True,
        text=True,
        check=True,
    )
    again = [json.loads(line)["caption"] for line in ran.stdout.splitlines()]
    assert again == [manifest.captions[i] for i in some]


def test_beams_go_into_the_generation_config(measured: Settings, tmp_path: Path) -> None:
    argv = ["--name", measured.name, "--storage", measured.storage, "--pick", "2", "--beams", "1"]
    assert command(export, [*argv, "--out", str(tmp_path / "greedy")]) == 0
    assert json.loads((tmp_path / "greedy" / "generation_config.json").read_text())["num_beams"] == 1
    manifest = ExportManifest.read(tmp_path / "greedy")
    assert manifest.check.same_as_study == manifest.check.images
    assert (
        manifest.latency is not None
        and manifest.latency.beams == 1
        and "1 beams" in (tmp_path / "greedy" / "README.md").read_text()
    )


def test_refusals(small_study: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study = ["--name", small_study.name, "--storage", small_study.storage]
    assert command(main, [*study, "--workers", "0"]) == 2
    assert command(export, [*study, "--beams", "0", "--out", str(tmp_path / "out")]) == 2
    assert command(export, [*study, "--adapter-only", "--dtype", "int8", "--out", str(tmp_path / "out")]) == 2
    errors = capfd.readouterr().err.splitlines()
    assert [e for e in errors if e.startswith("error: ")] == [
        "error: --workers must be at least 1, not 0 (see --help)",
        "error: --beams must be 1 to 64, not 0 (see --help)",
        "error: an adapter is kept in the precision it was trained in; leave --dtype int8 out",
    ]
    assert list(tmp_path.iterdir()) == []


def test_the_page_tells_of_forms_and_refits_in_lines() -> None:
    from search.html_report.evidence import followup_lines

    variants = [
        MeasuredVariant(4, GREEDY, {"cider": 29, "latency_ms": 5, "size_mb": 1.25}),
        MeasuredVariant(4, InferenceConfig("int4"), fault="RuntimeError: no kernel"),
    ]
    assert followup_lines(4, RefitScores(3, 3, 71.23, 0.84), variants) == [
        "trained again, 3 seeds, 3 epochs: test CIDEr 71.2 ± 0.8",
        "int8, 1 beam: CIDEr 29.0, latency ms 5.0, MB 1.25",
    ]
    assert followup_lines(1, None, variants) == []
