"""Who starts a study and from which commit, as MLflow finds out for a run of its own."""

from __future__ import annotations

from pathlib import Path

from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.git_utils import get_git_commit
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE, MLFLOW_USER

from search.study.settings import StudyMetadata


def user_and_commit() -> tuple[str | None, str | None]:
    """Returns the user, and the git commit of the program that runs, else of the working directory; None where there is none."""
    tags = resolve_tags()
    return tags.get(MLFLOW_USER), tags.get(MLFLOW_GIT_COMMIT) or get_git_commit(str(Path.cwd()))


def context_tags(metadata: StudyMetadata, command: str) -> dict[str, str]:
    """Returns the tags by which MLflow shows user, source and commit of a run that the module `command` made.

    They are those of the study's beginning, so that another user who writes the study again changes nothing.
    """
    tags = {MLFLOW_SOURCE_NAME: f"python -m search.{command}", MLFLOW_SOURCE_TYPE: "LOCAL"}
    tags |= {MLFLOW_USER: metadata.user} if metadata.user else {}
    return tags | ({MLFLOW_GIT_COMMIT: metadata.git_commit} if metadata.git_commit else {})
