"""A saved view of MLflow's runs page with filter, columns and charts, so that the printed link shows the front.

MLflow stores such views in experiment tags `mlflow.sharedViewState.<key>`. The format is undocumented and written for 3.17;
in another version that does not know it, the link opens the plain list of runs.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any

from rsopt.core.variant import digest

TAG = "mlflow.sharedViewState."
COLUMNS = ("tags.`role`", "tags.`state`", "tags.`pareto`", "tags.`picks`")
MILLIONS = ("params", "trainable")
PARAMS = ("llm_layers", "qformer_layers", "lora", "lr")


def view_key(study: str) -> str:
    """Returns the key of a study's view, which never changes."""
    return digest(["saved view", study])


def view_tag(study: str, objectives: Sequence[str], time_ms: int) -> tuple[str, str]:
    """Returns name and value of the experiment tag that holds the view."""
    state = json.dumps(view_state(study, objectives)).encode()
    value = {
        "name": f"front of {study}",
        "createdAt": time_ms,
        "updatedAt": time_ms,
        "state": "deflate;" + base64.b64encode(zlib.compress(state)).decode(),
    }
    return TAG + view_key(study), json.dumps(value)


def view_state(study: str, objectives: Sequence[str]) -> dict[str, Any]:
    """Returns a view of a study's children by first objective: a scatter for each other one, a contour, parallel coordinates."""
    first, *others = map(grid_name, objectives)
    charts = [_chart("SCATTER", xaxis=_metric(name), yaxis=_metric(first)) for name in others]
    if len(others) > 1:
        charts.append(_chart("CONTOUR", xaxis=_metric(others[0]), yaxis=_metric(others[1]), zaxis=_metric(first)))
    charts.append(_chart("PARALLEL", selectedParams=list(PARAMS), selectedMetrics=[*others, first], showAllRuns=True))
    for number, chart in enumerate(charts):
        chart["uuid"] = f"front-{number}"
    return {
        "searchFilter": f"tags.`rsopt.study` = '{study}' AND tags.role != 'study' AND tags.role != 'refit'",
        "orderByKey": f"metrics.`{first}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [*COLUMNS, *(f"metrics.`{n}`" for n in (first, *others)), *(f"params.`{n}`" for n in PARAMS)],
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "SHOWALL",
        "compareRunCharts": charts,
        "compareRunSections": [
            {
                "uuid": "front",
                "name": "Pareto front",
                "display": True,
                "isReordered": False,
                "deleted": False,
                "isGenerated": False,
            }
        ],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def grid_name(objective: str) -> str:
    """Returns the metric that grid and charts show: counts of parameters are in millions."""
    return f"{objective}_m" if objective in MILLIONS else objective


def _chart(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "runsCountToCompare": 500, "metricSectionId": "front", "deleted": False, "isGenerated": False, **fields}


def _metric(name: str) -> dict[str, str]:
    return {"key": name, "type": "METRIC"}
