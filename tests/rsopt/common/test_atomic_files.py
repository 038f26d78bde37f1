"""Files and folders appear whole or not at all; where two processes make the same one, the first stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsopt.common.atomic_files import creating, new_folder, replacing
from rsopt.errors import UserError


@pytest.mark.parametrize("way", [replacing, creating])
def test_nothing_is_left_of_a_block_that_fails(tmp_path: Path, way: object) -> None:
    assert callable(way)
    with pytest.raises(ValueError, match="mine"), way(tmp_path / "file") as aside:
        aside.write_text("half")
        raise ValueError("mine")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_by_one_and_kept_by_the_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text in ("old", "new"):
        with replacing(path) as aside:
            aside.write_text(text)
    assert path.read_text() == "new"
    with creating(path) as aside:
        aside.write_text("late")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_folder_is_created_once_and_without_links_a_file_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "deep" / "folder"
    for text in ("first", "second"):
        with creating(folder) as aside:
            aside.mkdir(parents=True)
            (aside / "file").write_text(text)
    assert (folder / "file").read_text() == "first" and list(folder.parent.iterdir()) == [folder]

    def no_links(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.link", no_links)
    with creating(tmp_path / "file") as aside:
        aside.write_text("whole")
    assert (tmp_path / "file").read_text() == "whole"


def test_an_export_takes_an_empty_folder_and_refuses_a_full_one(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with new_folder(folder) as aside:
        (aside / "file").touch()
    assert [p.name for p in folder.iterdir()] == ["file"]
    with pytest.raises(UserError, match="not empty"), new_folder(folder):
        pass
