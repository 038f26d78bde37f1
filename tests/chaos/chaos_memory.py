"""Out of memory for some candidates: the batch is halved, or they become infeasible; other candidates are not affected."""

from __future__ import annotations

import json
from pathlib import Path

from tests.chaos.command import check_mlflow, front, out_of_order, search, trained
from tests.chaos.conftest import Undisturbed


def test_candidates_that_do_not_fit_are_infeasible_and_others_unaffected(calm: Undisturbed, tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = {"CHAOS_LOG": str(log), "CHAOS_IMAGES": "0", "CHAOS_CANDIDATE": "7"}
    search(calm.folder, *calm.options("deep-only", trials=6, workers=2), environment=environment)
    trials = front(calm.folder / "runs" / "deep-only")["trials"]
    shallow = [trial for trial in trials if len(trial["variant"]["llm_layers"]) == 7]
    for trial in shallow:
        assert trial["state"] == "infeasible", trial
        assert trial["reason"].startswith("memory: one image a step does not fit into")
    assert not (unlike := out_of_order([trial for trial in trials if trial not in shallow])), unlike
    assert {len(t["variant"]["llm_layers"]) for t in trials} == {7, 8}, "the seed draws only one depth: choose another seed"
    check_mlflow("deep-only", calm.uri, len(trials))


def test_a_batch_that_does_not_fit_is_halved_for_later_candidates_too(calm: Undisturbed, tmp_path: Path) -> None:
    log = tmp_path / "log"
    search(calm.folder, *calm.options("halved"), environment={"CHAOS_LOG": str(log), "CHAOS_IMAGES": "3"})
    trials = front(calm.folder / "runs" / "halved")["trials"]
    assert not (unlike := out_of_order(trials)), unlike
    assert {t["micro_images"] for t in trained(log)} == {2}
    records = (calm.folder / "runs" / "halved" / "memory.jsonl").read_text().splitlines()
    assert records and all(json.loads(line)["had"] > 0 for line in records)
    assert all(t["loaded"] == (t["start"] > 0) for t in trained(log))
