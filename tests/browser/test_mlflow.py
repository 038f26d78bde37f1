"""The printed link opened in a real MLflow server: columns and charts of the saved view, with all trials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from search.session.summary import mlflow_link
from search.study.settings import Settings
from search.tracking.mlflow_writer import Tracker
from search.tracking.study_runs import study_view
from tests.browser.conftest import Browser
from tests.browser.server import serve, until
from tests.support.example_study import ENDED_MS, METADATA, make_settings, times_of
from tests.support.large_history import many

pytestmark = pytest.mark.browser
TRIALS = 12


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, str]]:
    """A study in a database, served; yields its settings and link."""
    folder = tmp_path_factory.mktemp("mlflow")
    written = make_settings(folder)
    tracker = Tracker(written.tracking_uri, "rsopt-pruning", written.name)
    history, _ = many(TRIALS)
    tracker.write(study_view(written, METADATA, history, times_of(history), "complete", ENDED_MS))
    with serve(written.tracking_uri, folder) as url:
        settings = replace(written, tracking_uri=url)
        yield settings, mlflow_link(settings, tracker.experiment_id)


def test_the_printed_link_shows_columns_and_charts_with_all_trials(
    browser: Browser, served: tuple[Settings, str], tmp_path: Path
) -> None:
    _, link = served
    browser.open(link, 1800, 1300)
    # Two scatters and a contour by plotly; parallel coordinates are drawn otherwise.
    charts = until(browser, "const n = document.querySelectorAll('.js-plotly-plot').length; return n >= 3 ? n : 0")
    parallel = until(browser, "return document.querySelectorAll('.parcoords svg text').length > 0")
    text = browser.run("return document.body.innerText")
    assert parallel, "no parallel coordinates"
    assert charts, f"the page says: {text[:2000]}"
    for title in ("Pareto front", "Parallel Coordinates", "latency_ms", "params_m", "cider"):
        assert title in text
    history, _ = many(TRIALS)
    finished = sum(c.final is not None for c in history)
    points = browser.run(
        "return [...document.querySelectorAll('.js-plotly-plot')].filter(p => p.data[0].type.startsWith('scatter'))"
        ".map(p => p.data[0].x.length)"
    )
    assert len(points) >= 2 and min(points) >= finished, f"{points} points, {finished} trials finished"
    names = {c.candidate.variant.label for c in history}
    assert sum(name in text for name in names) >= len(names) - 1, "each run by its name"
    browser.picture(tmp_path / "mlflow.png", 1800, 1300)
    assert (tmp_path / "mlflow.png").stat().st_size > 50_000

    # The grid draws only the columns that fit.
    browser.open(link.replace("&compareRunsMode=CHART", ""), 4000, 1000)
    wanted = ("pareto", "picks", "cider", "latency_ms", "params_m", "llm_layers", "qformer_layers", "lora")
    script = f"return {list(wanted)}.filter(w => !document.body.innerText.includes(w)).length === 0"
    assert until(browser, script, 30), f"a column is missing: {browser.run('return document.body.innerText')[:2000]}"


def test_the_parent_run_has_a_description(browser: Browser, served: tuple[Settings, str]) -> None:
    settings, link = served
    from mlflow.tracking import MlflowClient

    client = MlflowClient(settings.tracking_uri)
    experiment = client.get_experiment_by_name("rsopt-pruning").experiment_id
    parent = client.search_runs([experiment], "tags.role = 'study'")[0].info.run_id
    browser.open(f"{settings.tracking_uri}/#/experiments/{experiment}/runs/{parent}", 1400, 1000)
    words = ("How to read it", "Objectives", "hypervolume_share", "baseline.blind_class")
    script = f"return {list(words)}.filter(w => !document.body.innerText.includes(w)).length === 0"
    assert until(browser, script), browser.run("return document.body.innerText")[:2000]
    assert link
