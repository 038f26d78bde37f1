"""Takes the docs' screenshots of a study: its page wide, narrow and dark, and its saved view in MLflow.

python -m tests.browser.shots runs/pruning-1 docs
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

from search.html_report.write import write_page
from search.session.summary import mlflow_link
from search.study.settings import load_study
from search.tracking.mlflow_writer import Tracker
from tests.browser.conftest import start
from tests.browser.server import serve, until

CHARTS = (  # two scatters and a contour by plotly, and the axes of the parallel coordinates
    "return document.querySelectorAll('.js-plotly-plot').length >= 3"
    " && document.querySelectorAll('.parcoords svg text').length > 0"
)
PAGES = (("front-page", 1400, 1250, False), ("front-narrow", 390, 1400, False), ("front-dark", 1400, 1250, True))


def main(folder: Path, out: Path) -> None:
    """Write all screenshots of the study in `folder` to `out`."""
    settings, _ = load_study(folder.absolute())
    browser = start()
    try:
        url = write_page(folder.absolute()).as_uri()
        for name, width, height, dark in PAGES:
            browser.open(url, width, height, dark)
            time.sleep(0.5)
            browser.picture(out / f"{name}.png", width, height)
        tracker = Tracker(settings.tracking_uri, settings.mlflow_experiment, settings.name)
        with serve(settings.tracking_uri, folder.absolute().parent) as server:
            browser.open(mlflow_link(replace(settings, tracking_uri=server), tracker.experiment_id), 1800, 1100)
            until(browser, CHARTS)
            close = "const b = document.querySelector('[aria-label=\"Close\"]'); if (b) b.click(); return true"
            browser.run(close)  # the assistant's panel takes a quarter of the page
            time.sleep(2)
            until(browser, CHARTS)
            time.sleep(2)
            browser.picture(out / "mlflow.png", 1800, 1100)
    finally:
        browser.driver.quit()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
