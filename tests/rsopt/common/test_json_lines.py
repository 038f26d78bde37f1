"""JSON lines: a torn end is left out by readers and cut off by writers; whole damaged lines are refused or skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsopt.common import json_lines


def test_values_come_back_in_their_order_and_a_missing_file_has_none(tmp_path: Path) -> None:
    path = tmp_path / "values.jsonl"
    assert json_lines.read(path) == [] and json_lines.cut_torn_end(path) == 0
    json_lines.append(path, {"b": 1, "a": "é"})
    json_lines.append(path, {"b": 1, "a": 2}, sort_keys=True)
    assert path.read_text() == '{"b": 1, "a": "\\u00e9"}\n{"a": 2, "b": 1}\n'
    assert json_lines.read(path) == [{"b": 1, "a": "é"}, {"a": 2, "b": 1}]


@pytest.mark.parametrize("torn", ['{"a": ', "[1, 2]", "\0" * 70_000, "{" * 140_000])
def test_a_torn_end_is_not_read_and_the_next_line_takes_its_place(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "values.jsonl"
    path.write_text(f"[1]\n[2]\n{torn}")
    assert json_lines.read(path) == [[1], [2]]
    json_lines.append(path, [3])
    assert path.read_text() == "[1]\n[2]\n[3]\n"


def test_damaged_whole_lines_are_refused_or_skipped_and_cut_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "values.jsonl"
    path.write_text("[1]\nno\n[2]\n{\nno\n")
    with pytest.raises(ValueError, match="Expecting"):
        json_lines.read(path)
    assert json_lines.read(path, skip_damaged=True) == [[1], [2]]
    assert json_lines.cut_torn_end(path) == 5
    assert path.read_text() == "[1]\nno\n[2]\n"


def test_a_file_that_is_all_torn_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "values.jsonl"
    path.write_text("{")
    assert json_lines.cut_torn_end(path) == 1 and path.read_bytes() == b""
