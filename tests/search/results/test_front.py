"""front.json: a front that is written and read again is the same, and keys that were not looked up are absent."""

from __future__ import annotations

import json
from dataclasses import replace

from rsopt.core.inference import InferenceConfig
from search.results.build_front import build_front, front_variants
from search.results.front import Front, OtherDevice
from search.results.inference_variants import MeasuredVariant
from search.results.refits import RefitScores
from tests.support.example_study import HISTORY, METADATA, REMEASURED

FRONT = build_front("s", METADATA, HISTORY, {4: REMEASURED})
ELSEWHERE = OtherDevice(
    ledger="f.jsonl",
    device="Other Card",
    threads=0,
    decoder="generate",
    new_tokens=12,
    dtype="float32",
    torch="2",
    transformers="5",
    measured=3,
    predicted=1,
    unknown=1,
    entered=[3],
    left=[],
    picks_before={"knee": 2},
)


def test_a_front_that_is_read_again_is_the_same() -> None:
    variant = MeasuredVariant(4, InferenceConfig("int8", 1), {"cider": 29, "latency_ms": 5}, {"runs": 8})
    complete = replace(
        FRONT,
        trials=tuple(replace(t, same_cider=(2,), cider_groups=("a", "b")) if t.id == 1 else t for t in FRONT.trials),
        refits={2: RefitScores(3, 3, 71.23, 0.84), 4: RefitScores(3, 1, 60.0)},
        free=front_variants(FRONT, [variant]),
        elsewhere=ELSEWHERE,
    )
    for front in (FRONT, complete, build_front("s", METADATA, HISTORY[:1])):
        text = json.dumps(front.to_json())
        assert Front.from_json(json.loads(text)) == front
        assert json.dumps(Front.from_json(json.loads(text)).to_json()) == text


def test_keys_are_absent_unless_they_were_looked_up() -> None:
    data = FRONT.to_json()
    assert not {"refits", "free", "elsewhere"} & data.keys()
    assert replace(FRONT, refits={}, free=()).to_json().keys() - data.keys() == {"refits", "free"}
    assert [t["id"] for t in data["trials"] if "latency_again" in t] == [4]
    assert not any("same_cider" in t for t in data["trials"])
    assert data["trials"][0]["reason"] is None and data["trials"][0]["row"] is None, "these are there, and null"
    assert "sd" not in RefitScores(3, 1, 60.0).to_json()
