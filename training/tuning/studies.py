"""Where a study is kept: a database that one process or many machines work on at the same time.

Optuna keeps the trials. A trial whose process was killed is not heard of any more; whoever asks for
the next trial then marks it as failed and puts its settings back in the queue.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import exc as database_errors

HEARTBEAT_SECONDS, GRACE_SECONDS = 15, 60
RETRIES = 2  # of a trial whose process was killed: it may be what killed it
PRUNERS = ("median", "hyperband", "none")
ASKED = "classifyme"  # the study's attribute that says what is searched
_CONNECT_SECONDS = 10
_LOCKED_SECONDS = 60  # that SQLite waits for another process's write
_ATTEMPTS = 5
_LONGEST_SHOWN = 60  # characters of a value that differs
# What is different with something else, and need not be said besides.
_FOLLOWS = {
    "recipe": ("architecture", "space", "settings"),
    "architecture": ("space",),
    "data": ("labels", "images", "validation"),
}
_POSTGRESQL = ("postgres", "postgresql", "postgresql+psycopg")


class StudyError(Exception):
    """The study cannot be kept or gone on with; `str()` is a sentence to act on."""


# -- the database ----------------------------------------------------------------------------------


class _Storage(RDBStorage):
    """Optuna's, where a busy database stops no heart, no death goes unseen, no trial runs twice."""

    def record_heartbeat(self, trial_id: int) -> None:
        """Note that a trial is under way; a beat that the database does not take is left out."""
        # An error would end the thread that beats, and with it the trial, a minute later.
        with contextlib.suppress(
            optuna.exceptions.StorageInternalError, database_errors.SQLAlchemyError
        ):
            super().record_heartbeat(trial_id)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Return whether the trial took this state; of two that begin a waiting one, one does."""
        if state != TrialState.RUNNING or self.engine.dialect.name != "sqlite":
            return super().set_trial_state_values(trial_id, state, values)
        # Optuna reads, then writes: SQLite knows no SELECT FOR UPDATE, and both would have it.
        began = sqlalchemy.column("datetime_start", sqlalchemy.DateTime)
        identity = sqlalchemy.column("trial_id", sqlalchemy.Integer)
        state_now = sqlalchemy.column("state", sqlalchemy.String)
        trials = sqlalchemy.table("trials", identity, state_now, began)
        waits = (identity == trial_id) & (state_now == TrialState.WAITING.name)
        taken = {"state": state.name, "datetime_start": datetime.datetime.now()}
        with self.engine.begin() as connection:
            done = connection.execute(sqlalchemy.update(trials).where(waits).values(taken))
        return done.rowcount == 1

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """Return the trials that were not heard of for the time of grace.

        Of a process that was killed at once there is no heartbeat at all, and Optuna would wait
        for one for ever. Whoever looks first beats in its place: the time of grace begins then.
        """
        trials = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        running = {trial._trial_id for trial in trials}
        beats = sqlalchemy.table("trial_heartbeats", sqlalchemy.column("trial_id"))
        of_these = beats.c.trial_id.in_(sorted(running))
        with self.engine.connect() as connection:
            heard = connection.scalars(sqlalchemy.select(beats.c.trial_id).where(of_these))
            unheard = running.difference(heard)
        for trial_id in unheard:
            self.record_heartbeat(trial_id)
        return super()._get_stale_trial_ids(study_id)


def in_file(path: Path) -> str:
    """Return the address of a study kept by SQLite in a file."""
    return f"sqlite:///{path}"


def address(text: str) -> sqlalchemy.URL:
    """Return the address of a database as SQLAlchemy has it.

    Raises:
        StudyError: it is none, or of a database that is not supported.
    """
    expected = "Expected --storage sqlite:///PATH or postgresql://USER@HOST:5432/NAME."
    try:
        url = sqlalchemy.make_url(text)
    except (database_errors.ArgumentError, ValueError) as error:
        raise StudyError(f"{expected} Received something that is no address.") from error
    if url.drivername in _POSTGRESQL:
        return url.set(drivername="postgresql+psycopg")
    # The rest of the address may hold a password.
    if url.drivername != "sqlite":
        raise StudyError(f"{expected} Received: one that begins with {url.drivername}")
    if url.database in (None, "", ":memory:"):
        raise StudyError(f"{expected} Received: sqlite without a file, which keeps nothing.")
    return url


def shown(url: sqlalchemy.URL) -> str:
    """Return an address without its password, wherever it stands."""
    without = url.difference_update_query(["password", "sslpassword"])
    return without.set(drivername=url.drivername.partition("+")[0]).render_as_string()


def storage(url: sqlalchemy.URL) -> RDBStorage:
    """Open the database, and make its tables if need be.

    Raises:
        StudyError: it does not answer, or is not one that this Optuna can use.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _storage(url)
        except (database_errors.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            # Two that begin together make the same tables: who comes second finds them.
            if attempt == _ATTEMPTS or not _is_clash(error):
                raise StudyError(unreachable(url, error)) from error
            time.sleep(0.2 * attempt)
        except RuntimeError as error:  # tables of another Optuna
            raise StudyError(f"{shown(url)}: {error}") from error
    raise AssertionError("unreachable")


def _is_clash(error: Exception) -> bool:
    clashes = (database_errors.IntegrityError, database_errors.ProgrammingError)
    return isinstance(error, clashes) or "already exists" in str(error)


def _storage(url: sqlalchemy.URL) -> RDBStorage:
    wait = {"timeout": _LOCKED_SECONDS}
    if url.drivername != "sqlite":
        wait = {"connect_timeout": _CONNECT_SECONDS}
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        return _Storage(
            # Optuna takes it for a template: braces of a password are not its own.
            url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}"),
            # A study is asked a few times an epoch: no connection is held in between.
            engine_kwargs={"poolclass": sqlalchemy.NullPool, "connect_args": wait},
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
        )


def unreachable(url: sqlalchemy.URL, error: Exception) -> str:
    """Return a sentence on a database that does not answer; never its password."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    reason = str(getattr(cause, "orig", None) or cause).strip().partition("\n")[0]
    return f"The study's database {shown(url)} cannot be used: {reason}"


@contextlib.contextmanager
def answering(url: sqlalchemy.URL) -> Iterator[None]:
    """Translate what the database raises within the block into StudyError."""
    try:
        yield
    except (optuna.exceptions.StorageInternalError, database_errors.SQLAlchemyError) as error:
        raise StudyError(f"{unreachable(url, error)}. The same command goes on.") from error


# -- the study -------------------------------------------------------------------------------------


def study(
    kept: RDBStorage,
    name: str,
    asked: Mapping[str, Any],
    *,
    first: Mapping[str, Any] | None,
    sampler: BaseSampler,
    pruner: BasePruner,
) -> Study:
    """Begin a study, or go on with the one of this name.

    Args:
        asked: what the trials have in common, as JSON: what goes on must be the same.
        first: the values that are tried first where the study is new; None for drawn ones.

    Raises:
        StudyError: the study of this name is of something else.
    """
    try:
        found = optuna.create_study(
            storage=kept, study_name=name, direction="maximize", sampler=sampler, pruner=pruner
        )
        if first is not None:
            found.enqueue_trial(dict(first), user_attrs={"own": True})
    except optuna.exceptions.DuplicatedStudyError:
        found = optuna.load_study(storage=kept, study_name=name, sampler=sampler, pruner=pruner)
    _check_same(found, asked)
    return found


def _check_same(found: Study, asked: Mapping[str, Any]) -> None:
    if found.direction != StudyDirection.MAXIMIZE or _is_foreign(found):
        raise StudyError(
            f"{found.study_name} is a study of another program. Choose another name with --study."
        )
    if ASKED not in found.user_attrs:
        found.set_user_attr(ASKED, dict(asked))
    # Read back: another process may have begun the same study at the same time.
    before: dict[str, Any] = found.user_attrs[ASKED]
    now: dict[str, Any] = json.loads(json.dumps(asked))
    if before != now:
        said = "; ".join(_differences(before, now))
        raise StudyError(
            f"The study {found.study_name} is of something else: {said}. Go on with what it was "
            "begun with, or choose another name with --study."
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is not the same, and of two mappings only what differs in them."""
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    implied = {each for key in keys for each in _FOLLOWS.get(key, ())}
    for key in keys:
        one, other = before.get(key), now.get(key)
        if key in implied:
            continue
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from (f"{key}: {inner}" for inner in _differences(one, other))
        else:
            yield f"{key} {_brief(one)}, now {_brief(other)}"


def _brief(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _is_foreign(found: Study) -> bool:
    trials = found.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return ASKED not in found.user_attrs and bool(trials)


def give_up_lost(found: Study) -> None:
    """Mark the trials that were not heard of for a minute as failed; their settings are queued."""
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        optuna.storages.fail_stale_trials(found)


def put_back(found: Study, trial: FrozenTrial) -> None:
    """Queue the settings of a trial that was broken off, for whoever asks next."""
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        RetryHeartbeatStaleTrialCallback()(found, trial)


# -- what is tried next, and what is given up ------------------------------------------------------


class ByNumber(BaseSampler):
    """TPE (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"), seeded by trial.

    What a trial draws follows from the seed, its number and the trials before it: machines with
    the same seed draw different settings, and a study that is gone on with draws as if it had
    never stopped.
    """

    def __init__(self, seed: int, startup: int) -> None:
        self.seed, self.startup = seed, startup
        self._sampler = self._for(0)

    def _for(self, number: int) -> TPESampler:
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        return TPESampler(seed=seed, n_startup_trials=self.startup)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._sampler = self._for(trial.number)
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)


def pruner(name: str, *, epochs: int, warmup: int) -> BasePruner:
    """Return what gives up trials without hope, by validation accuracy after each epoch.

    `median` gives up what is below the median of the trials before it at the same epoch;
    `hyperband` spreads trials over budgets (Li et al. 2018, "Hyperband").

    Args:
        warmup: epochs that every trial gets.
    """
    if name == "median":
        return MedianPruner(n_startup_trials=4, n_warmup_steps=warmup)
    if name == "hyperband":
        return HyperbandPruner(min_resource=max(1, warmup), max_resource=epochs)
    return NopPruner()
