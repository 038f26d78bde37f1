"""What a search prints when it ends: the front, the knee's captions beside the references, where things are, what is next."""

from __future__ import annotations

import shlex
from typing import Any

from rsopt.core.leg_files import read_captions
from rsopt.data.records import CaptionData
from search.execution.driver import Outcome
from search.execution.remeasurement import told
from search.results.front import Front
from search.results.table import print_front, stdout_console
from search.storage.layout import FRONT_FILE, PAGE_FILE
from search.storage.location import checked_storage, is_remote
from search.study.settings import Settings
from search.tracking.ui_view import view_key

SAMPLES = 2


def print_report(
    settings: Settings,
    front: Front,
    outcome: Outcome,
    data: CaptionData,
    experiment_id: str | None,
    tracking_problem: str | None,
) -> None:
    """Print the end of a session to stdout; its last line is the next command."""
    console = stdout_console()
    say = lambda text, **style: console.print(text, markup=False, highlight=False, soft_wrap=True, **style)  # noqa: E731
    resume = f"python -m search.run --resume --name {settings.name}" + _storage_option(settings)
    if not front.finished:
        say("no trial finished, so there is no front yet")
        for trial in front.trials:
            if trial.reason:
                say(f"  trial {trial.id} ({trial.name}): {trial.reason}")
        if outcome.stopped:
            say(f"stopped because {outcome.stopped}")
        say(f"go on with: {resume}")
        return
    print_front(front, console)
    for line in search_lines(front):
        say(line)
    if (knee := front.picks.get("knee")) is not None:
        _print_samples(say, settings, knee, data)
    say("")
    for line in told(outcome.remeasured):
        say(f"latency    {line}")
    if is_remote(settings.storage):
        say(f"kept in    {settings.storage}/{settings.name}")
    say(f"front      {settings.folder / FRONT_FILE}")
    say(f"page       {settings.folder / PAGE_FILE}   (one file, for any browser, offline)")
    if tracking_problem:
        say(f"MLflow     not written ({tracking_problem}); the study itself is whole")
        say(f"           when it is back: {front_command(settings)} --sync")
    else:
        say(f"MLflow     {mlflow_command(settings.tracking_uri)}")
        say(f"           {mlflow_link(settings, experiment_id)}")
    if outcome.stopped:
        say(f"stopped because {outcome.stopped}")
    cut_short = outcome.interrupted or outcome.stopped
    say(f"{'stopped' if cut_short else 'done'} after {outcome.seconds / 60:.1f} min; what finished is kept")
    if cut_short:
        say(f"next: {resume}")
    else:
        say(f"more trials: {resume} --trials {2 * settings.trials}   (or see it again: {front_command(settings)})")
        say(f"trained again over seeds: {beside_command(settings, 'refit')}   (8 bits, fewer beams: search.free)")
        say(f"next: {export_command(settings)}")


def search_lines(front: Front) -> list[str]:
    """How well the rungs predicted the end, and what stopping saved."""
    lines = [
        f"rung {r.rung:.2g}: Kendall tau {r.kendall_tau:.2f} with CIDEr at the end ({r.candidates} candidates)"
        for r in front.rungs
        if r.kendall_tau is not None
    ]
    if front.saved_share is not None:
        lines.append(f"stopping saved {front.saved_share:.0%} of the training that running all to the end would take")
    return lines


def front_command(settings: Settings) -> str:
    """The command that prints the front again."""
    return f"python -m search.front --name {settings.name}{_storage_option(settings)}"


def beside_command(settings: Settings, command: str) -> str:
    """A command that adds to a finished study: refit or free."""
    return f"python -m search.{command} --name {settings.name}{_storage_option(settings)}"


def export_command(settings: Settings) -> str:
    """The command that takes the knee away."""
    return f"python -m search.export --name {settings.name}{_storage_option(settings)} --pick knee --out {settings.name}-knee"


def mlflow_command(uri: str) -> str:
    """What to type so that the link below opens; nothing for a server that runs already."""
    if uri.startswith("http"):
        return f"on the server {uri}"
    return f"mlflow server --workers 1 --backend-store-uri {shlex.quote(uri)}   then open"


def mlflow_link(settings: Settings, experiment_id: str | None) -> str:
    """The study's runs with columns and charts set. Without workflowType the page opens in a mode that shows no runs."""
    uri = settings.tracking_uri
    host = uri.rstrip("/") if uri.startswith("http") else "http://127.0.0.1:5000"
    query = f"workflowType=machine_learning&viewStateShareKey={view_key(settings.name)}&compareRunsMode=CHART"
    return f"{host}/#/experiments/{experiment_id}/runs?{query}"


def _print_samples(say: Any, settings: Settings, knee: int, data: CaptionData) -> None:
    found = read_captions(settings.folder, knee, 1.0)
    if found is None:
        return
    captions = found["captions"]
    samples = [s for s in data.split("val") if s.image_id in captions]
    say(f"\nthe knee, trial {knee}, says")
    for sample in samples[:: max(1, len(samples) // SAMPLES)][:SAMPLES]:
        say(f"  {sample.image_id}: {captions[sample.image_id]}")
        for caption in sample.captions[:3]:
            say(f"      reference: {caption.text}", style="dim")


def _storage_option(settings: Settings) -> str:
    return "" if settings.storage == checked_storage("runs") else f" --storage {shlex.quote(settings.storage)}"
