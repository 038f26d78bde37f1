"""Names of the files in a study's folder."""

from __future__ import annotations

STUDY_FILE, LEDGER_FILE = "study.json", "latency.jsonl"
RANKINGS_FILE = "rankings.json"
REMEASURED_FILE = "latency_front.json"
JOURNAL_FILE = "journal.log"
WARM_START_FILE = "warm.json"
