"""Names of the files and folders in a study's folder. The files of a leg are named by `rsopt.core.leg_files`."""

from __future__ import annotations

STUDY_FILE = "study.json"  # settings and metadata
SPACE_FILE = "space.yaml"
JOURNAL_FILE = "journal.log"
LOCK_FILE = "writer.lock"
CHANGES_FILE = "changes.jsonl"  # options that were changed on resume
WARM_START_FILE = "warm.json"
RANKINGS_FILE = "rankings.json"

LEDGER_FILE = "latency.jsonl"
GIVEN_LEDGER_FILE = "latency_given.jsonl"  # the ledger as it was when the study began
REMEASURED_FILE = "latency_front.json"
MEMORY_FILE = "memory.jsonl"  # rsopt.common.out_of_memory.EXCEEDED_FILE, whose module imports torch

FRONT_FILE = "front.json"
PAGE_FILE = "front.html"

REFITS_FOLDER = "refits"
REFIT_PLAN_FILE = "plan.json"  # in the refits' folder
REFIT_SUMMARY_FILE = "refits.json"  # in the refits' folder

INFERENCE_VARIANTS_FOLDER = "free"
