"""Journal: the durable truth of one study, an Optuna journal file with a single writer. Each change is one appended line."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from rsopt.common.json_lines import cut_torn_end
from rsopt.core.objectives import Objective
from rsopt.errors import InfrastructureError, UserError
from search.storage.layout import JOURNAL_FILE
from search.study.history import CandidateState, History
from search.study.journal_file import hold
from search.study.trial_records import candidate_state, ending, interrupted, progress_of


class Journal:
    """Opens or creates the study in a folder and holds it against other writers until `close` or the process's end.

    `cut_bytes` says how much of a torn last line was cut off on opening (0: none): the sign of a driver that died writing.
    Raises UserError if another process drives this study, if the file is damaged, or if `settings` differ from those it was
    created with. Writing raises InfrastructureError where the disk refuses it, and from then on always: the line may be
    half there, and whatever came after it could not be read. `keep` is called after each record, before anything follows
    from it, and may raise InfrastructureError with the same consequence.
    """

    def __init__(
        self,
        folder: Path,
        objectives: Sequence[Objective],
        settings: dict[str, Any],
        keep: Callable[[], None] = lambda: None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / JOURNAL_FILE
        self._objectives = tuple(objectives)
        self._failure: InfrastructureError | None = None
        self._keep = keep
        self._writer = hold(folder)
        try:
            self.cut_bytes = cut_torn_end(self._path)
            # With the writer's lock in our hands nobody else appends, so a lock of Optuna's that lies here is a dead
            # driver's; left alone it would cost half a minute.
            for stale in folder.glob(f"{JOURNAL_FILE}.lock*"):
                stale.unlink()
            self._storage = _storage(self._path)
            self._study = self._open(folder.absolute().name)
            self._check(settings)
            self._study_id = self._storage.get_study_id_from_name(self._study.study_name)
            with self._writing():
                self._settle()
        except BaseException:
            self.close()
            raise

    @property
    def study(self) -> optuna.Study:
        """The Optuna study, for its plots; only this class writes to it."""
        return self._study

    def trials(self) -> list[FrozenTrial]:
        """Every trial by number. Do not change them."""
        return self._storage.get_all_trials(self._study_id, deepcopy=False)

    def history(self) -> list[CandidateState]:
        """Every candidate by number."""
        return [candidate_state(trial) for trial in self.trials()]

    def create(
        self,
        state: CandidateState,
        distributions: dict[str, BaseDistribution],
        system_attrs: dict[str, Any],
        user_attrs: dict[str, Any],
    ) -> None:
        """Record a new candidate, whole and in one line, so that no death of the driver leaves half of it."""
        now = datetime.now()
        finished = state.finished
        trial = FrozenTrial(
            number=-1,
            trial_id=-1,
            state=ending(state, self._objectives)[0] if finished else TrialState.RUNNING,
            value=None,
            datetime_start=now,
            datetime_complete=now if finished else None,
            params=state.params,
            distributions=distributions,
            user_attrs={
                **user_attrs,
                **({"row": state.row} if state.row else {}),
                "role": state.role,
                "key": state.candidate.key,
                "candidate": state.candidate.to_json(),
                "progress": progress_of(state),
            },
            system_attrs=system_attrs,
            intermediate_values={},
        )
        with self._writing():
            self._storage.create_new_trial(self._study_id, trial)

    def update(self, state: CandidateState) -> None:
        """Record where a candidate stands; if it is finished, finish its trial too."""
        trial_id = self._trial_id(state.number)
        with self._writing():
            self._storage.set_trial_user_attr(trial_id, "progress", progress_of(state))
            if state.finished:
                self._finish(state)

    def close(self) -> None:
        """Let another process drive this study."""
        self._writer.close()

    def _finish(self, state: CandidateState) -> None:
        how, values = ending(state, self._objectives)
        self._storage.set_trial_state_values(self._trial_id(state.number), how, values)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._failure:
            raise self._failure
        try:
            yield
            self._keep()
        except InfrastructureError as error:
            self._failure = error
            raise
        except OSError as error:
            self._failure = InfrastructureError(
                f"the journal {self._path} cannot be written: {error.strerror or error}"
            )
            raise self._failure from error

    def _settle(self) -> None:
        """Finish the trials whose end was recorded just before the driver died."""
        for trial, state in zip(self.trials(), self.history(), strict=True):
            if state.finished and not trial.state.is_finished():
                self._finish(state)

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def _open(self, name: str) -> optuna.Study:
        studies = self._storage.get_all_studies()
        with quiet():
            # A folder may have been renamed since: whatever study is in it is the one.
            study = optuna.create_study(
                study_name=studies[0].study_name if studies else name,
                directions=["maximize" if o.direction == "max" else "minimize" for o in self._objectives],
                storage=self._storage,
                sampler=optuna.samplers.RandomSampler(
                    seed=0
                ),  # never asked: samplers draw in search/optimizer/optuna_sampler.py
                load_if_exists=True,
            )
            names = [objective.name for objective in self._objectives]
            if study.metric_names is None:
                study.set_metric_names(names)
        return study

    def _check(self, settings: dict[str, Any]) -> None:
        wanted = {"objectives": [objective.name for objective in self._objectives], **settings}
        recorded = self._study.user_attrs.get("settings")
        if recorded is None:
            self._study.set_user_attr("settings", wanted)
            return
        for key, value in wanted.items():
            if recorded.get(key) != value:
                raise UserError(
                    f"this study was created with {key} {recorded.get(key)}, not {value}; give it another name"
                )


def read_history(folder: Path) -> History:
    """A study's candidates without driving it: nothing is written, and what has not finished is `interrupted`.

    Raises UserError where the folder holds no study.
    """
    return tuple(interrupted(candidate_state(trial)) for trial in read_trials(folder))


def read_trials(folder: Path) -> list[FrozenTrial]:
    """A study's Optuna trials by number, with their times and distributions. Nothing is written."""
    path = folder / JOURNAL_FILE
    if not path.is_file():
        raise UserError(f"no study in {folder}")
    storage = _storage(path)
    studies = storage.get_all_studies()
    return storage.get_all_trials(studies[0]._study_id, deepcopy=False) if studies else []


def _storage(path: Path) -> JournalStorage:
    """The journal, read. Raises UserError where it holds what Optuna cannot read."""
    try:
        with quiet():
            return JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"the journal {path} is damaged ({type(error).__name__}: {error}); restore it from a copy"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna without its log lines and its warnings about experimental classes, for the length of a block."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
