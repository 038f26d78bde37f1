"""The journal of a study: an Optuna journal file with a single writer, the only durable state. A change appends one line."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from search.storage.layout import JOURNAL_FILE, STUDY_FILE
from search.study.history import CandidateState, History
from search.study.latencies import read_remeasured, with_best_latencies
from search.study.limits import Limits
from search.study.settings import load_study
from search.study.trial_records import candidate_state, ending, interrupted, progress_of
from search.study.writer_lock import lock_folder


class Journal:
    """Opens or creates the study in a folder and locks it against other writers until `close` or the process's end.

    `cut_bytes` is the length of a torn last line that was cut off on opening (0: none), left by a driver that died writing.
    `keep` is called after each record and before anything follows from it; it may raise InfrastructureError.

    Raises UserError if another process drives this study, if the file is damaged, or if `settings` differ from those it was
    created with. Writing raises InfrastructureError if the disk refuses it or `keep` fails, and always from then on: the last
    line may be incomplete, and nothing after it could be read.
    """

    def __init__(
        self,
        folder: Path,
        objectives: Sequence[Objective],
        settings: Mapping[str, object],
        keep: Callable[[], None] = lambda: None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / JOURNAL_FILE
        self._objectives = tuple(objectives)
        self._failure: InfrastructureError | None = None
        self._keep = keep
        self._writer = lock_folder(folder)
        try:
            self.cut_bytes = cut_torn_end(self._path)
            # This process has the writer's lock, so a lock file of Optuna's is left over from a dead driver; Optuna would
            # wait for it for half a minute.
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

    def trials(self) -> list[FrozenTrial]:
        """Returns every trial by number, not copied: do not change them."""
        return self._storage.get_all_trials(self._study_id, deepcopy=False)

    def history(self) -> list[CandidateState]:
        """Returns every candidate by number."""
        return [candidate_state(trial) for trial in self.trials()]

    def create(
        self,
        state: CandidateState,
        distributions: dict[str, BaseDistribution],
        system_attrs: dict[str, Any],
        user_attrs: dict[str, Any],
    ) -> None:
        """Records a new candidate in one line, so that a crash cannot leave half of it.

        Args:
            state: the candidate.
            distributions: of its params.
            system_attrs: what Optuna's sampler records with a trial.
            user_attrs: further attributes of the trial.
        """
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
        """Records a candidate's state; if it is finished, finishes its trial too."""
        trial_id = self._trial_id(state.number)
        with self._writing():
            self._storage.set_trial_user_attr(trial_id, "progress", progress_of(state))
            if state.finished:
                self._finish(state)

    def close(self) -> None:
        """Lets another process drive this study."""
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
            self._failure = InfrastructureError(f"the journal {self._path} cannot be written: {error.strerror or error}")
            raise self._failure from error

    def _settle(self) -> None:
        """Finishes the trials whose end was recorded just before the driver died."""
        for trial, state in zip(self.trials(), self.history(), strict=True):
            if state.finished and not trial.state.is_finished():
                self._finish(state)

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def _open(self, name: str) -> optuna.Study:
        studies = self._storage.get_all_studies()
        with quiet_optuna():
            # The folder may have been renamed since, so the name does not matter.
            study = optuna.create_study(
                study_name=studies[0].study_name if studies else name,
                directions=["maximize" if o.direction == "max" else "minimize" for o in self._objectives],
                storage=self._storage,
                sampler=optuna.samplers.RandomSampler(seed=0),  # never used
                load_if_exists=True,
            )
            names = [objective.name for objective in self._objectives]
            if study.metric_names is None:
                study.set_metric_names(names)
        return study

    def _check(self, settings: Mapping[str, object]) -> None:
        wanted = {"objectives": [objective.name for objective in self._objectives], **settings}
        recorded = self._study.user_attrs.get("settings")
        if recorded is None:
            self._study.set_user_attr("settings", wanted)
            return
        for key, value in wanted.items():
            if recorded.get(key) != value:
                raise UserError(f"this study was created with {key} {recorded.get(key)}, not {value}; give it another name")


def read_history(folder: Path) -> History:
    """Returns a study's candidates with their best known latencies; those that have not finished are `interrupted`.

    Nothing is written. Raises UserError where the folder holds no study.
    """
    history = tuple(interrupted(candidate_state(trial)) for trial in read_trials(folder))
    limits = load_study(folder)[0].limits if (folder / STUDY_FILE).exists() else Limits()
    return with_best_latencies(history, read_remeasured(folder), limits)


def read_trials(folder: Path) -> list[FrozenTrial]:
    """Returns a study's Optuna trials by number, with their times and distributions, without writing anything."""
    path = folder / JOURNAL_FILE
    if not path.is_file():
        raise UserError(f"no study in {folder}")
    storage = _storage(path)
    studies = storage.get_all_studies()
    return storage.get_all_trials(studies[0]._study_id, deepcopy=False) if studies else []


def _storage(path: Path) -> JournalStorage:
    """Returns the journal's storage. Raises UserError if Optuna cannot read it."""
    try:
        with quiet_optuna():
            return JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"the journal {path} is damaged ({type(error).__name__}: {error}); restore it from a copy") from error


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Silences Optuna's log lines and its warnings about experimental classes within a `with` block."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
