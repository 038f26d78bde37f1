"""The console script works in any folder, also in one with a package `search` of the user's, and from a wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

from search.study.settings import Settings
from tests.support.fields_dataset import fields_space, write_fields_dataset

ROOT = Path(__file__).parents[2]
SPACE = """\
name: small
objectives: [cider, params]
rungs: [1.0]
parameters: {llm_layers: {layers: [7, 8]}, lora: llm, llm_rank: 4, epochs: 1, batch_images: 8}
"""
# What pip writes for an entry point: Python then searches the script's folder, and not the current one.
SCRIPT = "import sys\nfrom {module} import {name}\nif __name__ == '__main__':\n    sys.exit({name}())\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder whose own packages must not be imported."""
    for package in ("search", "rsopt"):
        (tmp_path / "mine" / package).mkdir(parents=True)
        (tmp_path / "mine" / package / "__init__.py").write_text("raise ImportError('the package of the user')\n")
    return tmp_path / "mine"


def installed(bin_folder: Path, entry_point: str = "search.main:entry") -> Path:
    """The script of an entry point."""
    module, name = entry_point.split(":")
    bin_folder.mkdir()
    (bin_folder / "rsopt").write_text(SCRIPT.format(module=module, name=name))
    return bin_folder / "rsopt"


def rsopt(script: Path, code: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a folder, with the packages of `code`."""
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | {"PYTHONPATH": str(code)}
    command = [sys.executable, str(script), *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)


def test_it_runs_beside_packages_of_the_same_names(folder: Path, tmp_path: Path, small_study: Settings) -> None:
    script = installed(tmp_path / "bin")
    plan = rsopt(script, ROOT, folder, "search", "--space", "pruning", "--dry-run")
    assert plan.returncode == 0 and plan.stdout.startswith("space pruning:"), plan.stderr
    front = rsopt(script, ROOT, folder, "front", "--name", small_study.name, "--storage", small_study.storage, "--json")
    assert front.returncode == 0, front.stderr
    assert json.loads(front.stdout)["study"] == small_study.name
    refused = rsopt(script, ROOT, folder, "front", "--nmae", "s")
    assert refused.returncode == 2
    assert refused.stderr == "error: rsopt front has no option '--nmae'; did you mean '--name'? (see --help)\n"


def test_workers_of_a_search_import_what_its_driver_does(folder: Path, tmp_path: Path) -> None:
    (folder / "small.yaml").write_text(SPACE)
    fields_space, write_fields_dataset(folder / "fields")
    options = ["--space", "small.yaml", "--data", "fields", "--trials", "1", "--workers", "1", "--no-halving"]
    done = rsopt(installed(tmp_path / "bin"), ROOT, folder, "search", *options)
    assert done.returncode == 0, done.stderr
    front = json.loads((folder / "runs" / "small-1" / "front.json").read_text())
    assert [t["state"] for t in front["trials"]] == ["complete"] * 3
    assert "\nnext: rsopt export --name small-1 " in done.stdout and "python -m" not in done.stdout + done.stderr


def test_a_wheel_holds_all_that_the_command_needs(folder: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("search", "rsopt", "spaces"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    build = "from setuptools.build_meta import build_wheel; import sys; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=tree, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("rsopt-*.whl")
    code = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(code)
    for file in ("rsopt/py.typed", "search/py.typed", "spaces/pruning.yaml", "rsopt/tiny/config.json"):
        assert (code / file).is_file(), file
    assert list(code.glob("rsopt-*.dist-info/licenses/LICENSE"))
    points = ConfigParser()
    points.read(code.glob("rsopt-*.dist-info/entry_points.txt"))
    script = installed(tmp_path / "bin", points["console_scripts"]["rsopt"])
    for words in (["search", "--space", "pruning", "--dry-run"], ["cost", "--base", "tiny"], ["--version"]):
        done = rsopt(script, code, folder, *words)
        assert done.returncode == 0 and done.stdout, done.stderr
    pretrain = [sys.executable, "-m", "rsopt.pretrain", "--out", "base"]
    refused = subprocess.run(pretrain, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(code)}, capture_output=True, text=True)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1) and "use a clone" in refused.stderr
    assert not (tmp_path / "base").exists() and not list(code.glob("research*"))
