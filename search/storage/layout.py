"""TODO."""

from __future__ import annotations

STUDY_FILE, LEDGER_FILE = "study.json", "latency.jsonl"
RANKINGS_FILE = "rankings.json"
REMEASURED_FILE = "latency_front.json"

FILE = "journal.log"

FILE = "warm.json"
