"""What a search prints when it ends: the front, captions of the knee with references, where the files are, what is next."""

from __future__ import annotations

import shlex
from functools import partial
from typing import Any

from rsopt.core.leg_files import read_captions
from rsopt.data.records import CaptionData
from search.execution.driver import Outcome
from search.execution.remeasurement import summary_line
from search.results.front import Front
from search.results.table import print_front, stdout_console
from search.results.verdict import next_step
from search.storage.layout import FRONT_FILE, PAGE_FILE
from search.storage.location import is_remote, study_command
from search.study.settings import Settings
from search.tracking.ui_view import view_key

SAMPLES = 2


def print_report(
    settings: Settings, front: Front, outcome: Outcome, data: CaptionData, experiment_id: str | None, tracking_problem: str | None
) -> None:
    """Prints the end of a session to stdout. Its last line is the next command.

    Args:
        settings: of the study.
        front: its front.
        outcome: how the session ended.
        data: the data set, for references of the knee's captions.
        experiment_id: MLflow's id of the experiment; None where MLflow was never reached.
        tracking_problem: why MLflow was not written; None where it was.
    """
    console = stdout_console()
    say = lambda text, **style: console.print(text, markup=False, highlight=False, soft_wrap=True, **style)  # noqa: E731
    command = partial(study_command, settings.storage, settings.name)
    resume = command("run --resume")
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
    if changed := summary_line(outcome.remeasured):
        say(f"latency    {changed}")
    if is_remote(settings.storage):
        say(f"kept in    {settings.storage}/{settings.name}")
    say(f"front      {settings.folder / FRONT_FILE}")
    say(f"page       {settings.folder / PAGE_FILE}   (one file, for any browser, offline)")
    if tracking_problem:
        say(f"MLflow     not written ({tracking_problem}); the study itself is complete")
        say(f"           when it is back: {command('front')} --sync")
    else:
        say(f"MLflow     {mlflow_command(settings.tracking_uri)}")
        say(f"           {mlflow_link(settings, experiment_id)}")
    minutes = f"{outcome.seconds / 60:.1f} min; finished trials are kept"
    if outcome.stopped:
        say(f"stopped because {outcome.stopped}")
    if outcome.interrupted or outcome.stopped:
        say(f"stopped after {minutes}")
        say(f"next: {resume}")
    else:
        say(f"done after {minutes}")
        say(f"more trials: {resume} --trials {2 * settings.trials}   (or see it again: {command('front')})")
        say(f"{refit_advice(front, command('refit'))}   (8 bits, fewer beams: search.free)")
        export = f"{command('export')} --pick knee --out {settings.name}-knee"
        say(f"next: {next_step(front, export)}")


def search_lines(front: Front) -> list[str]:
    """Returns how well the rungs predicted the final CIDEr, what stopping saved, and how optimistic the front is."""
    lines = [
        f"rung {r.rung:.2g}: Kendall tau {r.kendall_tau:.2f} with CIDEr at the end ({r.candidates} candidates)"
        for r in front.rungs
        if r.kendall_tau is not None
    ]
    if front.saved_share is not None:
        lines.append(f"stopping saved {front.saved_share:.0%} of the training that running all to the end would take")
    if (lower := front.optimism) is not None:
        change = f"{abs(lower):.0f} {'lower' if lower > 0 else 'higher'}" if round(lower) else "the same"
        lines.append(f"measured again on fresh images, the front's CIDEr is expected to be {change} on average")
    return lines


def refit_advice(front: Front, command: str) -> str:
    """Returns what to train again over several seeds with search.refit: members whose CIDEr equals another's, if any."""
    tied = [str(trial.id) for trial in front.members if trial.same_cider]
    if not tied:
        return f"train again over several seeds: {command}"
    names = f"{', '.join(tied[:-1])} and {tied[-1]}"
    pick = f"{command} --pick {','.join(tied)}"
    return f"trials {names} cannot be told apart from another; train them over several seeds: {pick}"


def mlflow_command(uri: str) -> str:
    """Returns what to type so that the link opens. A server needs nothing."""
    if uri.startswith("http"):
        return f"on the server {uri}"
    return f"mlflow server --workers 1 --backend-store-uri {shlex.quote(uri)}   then open"


def mlflow_link(settings: Settings, experiment_id: str | None) -> str:
    """Returns a link to the study's runs with columns and charts. Without `workflowType` the page would show no runs."""
    uri = settings.tracking_uri
    host = uri.rstrip("/") if uri.startswith("http") else "http://127.0.0.1:5000"
    query = f"workflowType=machine_learning&viewStateShareKey={view_key(settings.name)}&compareRunsMode=CHART"
    return f"{host}/#/experiments/{experiment_id}/runs?{query}"


def _print_samples(say: Any, settings: Settings, knee: int, data: CaptionData) -> None:
    """Prints captions of the knee with their references."""
    recorded = read_captions(settings.folder, knee, 1.0)
    if recorded is None:
        return
    captions = recorded["captions"]
    samples = [s for s in data.split("val") if s.image_id in captions]
    say(f"\ncaptions of the knee, trial {knee}")
    for sample in samples[:: max(1, len(samples) // SAMPLES)][:SAMPLES]:
        say(f"  {sample.image_id}: {captions[sample.image_id]}")
        for caption in sample.captions[:3]:
            say(f"      reference: {caption.text}", style="dim")
