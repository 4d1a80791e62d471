"""The use case: run a session from its data to a bundle, and register that.

The run's folder and its TrainingRun row say all along how it goes. No command code here: a
background task may call it just as well.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings as django_settings
from django.db import DatabaseError

from classifier import registry
from classifier.models import ModelVersion
from classifier.wording import counted
from training import loading, orders, quiet, runs, surroundings
from training.datasets.dataset import DatasetError
from training.models import Outcome, TrainingRun
from training.orders import Session, SessionError
from training.progress import Epoch, Progress, Reporter
from training.recipes import recipe as recipes
from training.recipes.recipe import Recipe
from training.recording import RunRecord, metrics_of
from training.runs import RunPlan

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from classifier.bundles import Bundle
    from training.evaluation import Evaluation
    from training.trainer import Trainer

Say = Callable[[str], None]
EXPORTS = "tensorflow"  # the backend


@dataclass(frozen=True)
class Result:
    """What a session made: the bundle, and what it did on the test split."""

    session: Session
    run: TrainingRun
    bundle: Bundle
    evaluation: Evaluation
    trainer: Trainer


class Unexported(SessionError):
    """What was trained on another backend than TensorFlow, which alone exports."""

    def __init__(self, session: Session, backend: str) -> None:
        self.folder = session.folder
        super().__init__(
            f"Trained on {backend}; TensorFlow exports and measures: "
            f"KERAS_BACKEND={EXPORTS} python manage.py train {session.recipe.name} --resume "
            f"{shlex.quote(str(session.folder))}"
        )


def devices(asked: str | None) -> tuple[str, ...]:
    """Return the devices that are to share each batch; none for None.

    Raises:
        SessionError: they are not there, or cannot train together.
    """
    if asked is None:  # what is wrong with the rest of an order is said before Keras is loaded
        return ()
    quiet.load_keras()
    from training.hardware import DevicesError
    from training.hardware import devices as found

    try:
        return found(asked)
    except DevicesError as error:
        raise SessionError(str(error)) from error


def run(
    session: Session,
    *,
    report: Reporter,
    say: Say = lambda sentence: None,
    devices: Sequence[str] = (),
) -> Result:
    """Train, calibrate, export, measure; return what came out.

    KeyboardInterrupt goes through: a checkpoint is there and the row says *stopped*.

    Args:
        devices: that share each batch; none leaves it to Keras.

    Raises:
        Unexported: it was trained, on another backend than TensorFlow.
        SessionError: the run failed for a reason that it could tell, or another process trains it.
    """
    with contextlib.ExitStack() as stack:
        with orders.refusals():
            stack.enter_context(runs.held(session.folder))
        return _recorded(session, report, say, devices)


def _recorded(session: Session, report: Reporter, say: Say, devices: Sequence[str]) -> Result:
    """Run the session while its row says how it goes, and in the end how it ended."""
    quiet.load_keras()
    from training.trainer import Diverged, TrainingError, Unbuildable

    record = RunRecord(_row(session))
    record.start()
    try:
        result = _run(session, record, report, say, devices)
    except KeyboardInterrupt:
        _end(session, record, Outcome.STOPPED, "Stopped by a person, or by the machine.")
        raise
    except Unexported as trained:
        _end(session, record, Outcome.STOPPED, str(trained))
        raise
    except (TrainingError, DatasetError) as error:
        if isinstance(error, Diverged):
            outcome = Outcome.DIVERGED
        elif isinstance(error, Unbuildable) and not session.resumes:
            outcome = Outcome.REFUSED
        else:
            outcome = Outcome.FAILED
        _end(session, record, outcome, str(error))
        raise SessionError(str(error)) from error
    except OSError as error:
        sentence = orders.words(error)
        _end(session, record, Outcome.FAILED, sentence)
        raise SessionError(f"{session.folder}: {sentence}") from error
    except BaseException as error:
        _end(session, record, Outcome.CRASHED, f"{type(error).__name__}: {error}")
        raise
    metrics = metrics_of(result.bundle.manifest.metrics)
    _end(session, record, Outcome.FINISHED, "", metrics=metrics, bundle=result.bundle)
    return result


def register(
    result: Result,
    *,
    activate: bool,
    by: User | None = None,
    reason: str = "",
    override: bool = False,
) -> ModelVersion:
    """Register what came out as a new version, and let it past its model's gate if asked to.

    Raises:
        SessionError: the registry refused; a version that the gate refuses stays registered.
    """
    why = reason or "manage.py train --activate"
    try:
        version = registry.register(result.bundle.root, by=by)
        TrainingRun.objects.filter(pk=result.run.pk).update(version=version)
        if activate:
            registry.activate(version, by=by, reason=why, override=override)
    except registry.GateRefused as refusal:
        raise SessionError(_still_registered(refusal)) from refusal
    except registry.RegistryError as error:
        raise SessionError(str(error)) from error
    return version


def _still_registered(refusal: registry.GateRefused) -> str:
    version = refusal.verdict.version
    command = f"python manage.py activate_model {version.model.name} {version.number}"
    return (
        f"{refusal} It is registered, and not active. To activate it all the same: {command} "
        "--override-gate --reason WHY"
    )


def _run(
    session: Session, record: RunRecord, report: Reporter, say: Say, devices: Sequence[str]
) -> Result:
    from training.packaging import Run, package

    trainer = _trained(session, record, report, say, devices)
    record.note(phase="measuring")
    say("Exporting and measuring.")
    made = Run(
        recipe=_described(session),
        trainer=trainer,
        command=orders.without_folders(session.plan.command),
        label_keys=session.dataset.label_keys,
        dataset_digest=session.plan.dataset_digest,
        validation=session.validation,
        test=session.test,
        input=loading.input_of(session.recipe),
        origin=_origin(session.plan, record.run),
    )
    bundle, evaluation = package(made, session.folder / runs.BUNDLE)
    return Result(session, record.run, bundle, evaluation, trainer)


def _trained(
    session: Session, record: RunRecord, report: Reporter, say: Say, devices: Sequence[str]
) -> Trainer:
    """Train to the end. Raises Unexported where that is all that can be done here."""
    from training.hardware import hardware, sharing

    machine = hardware()
    shared = {"sharing": list(devices)} if len(devices) > 1 else {}
    with sharing(devices):
        trainer = _trainer(session, record, report)
        # What only exports does not pass for what trained.
        is_over = trainer.done >= trainer.total_steps or trainer.out_of_patience()
        if not is_over or not record.run.hardware:
            record.note(hardware=machine | shared)
        say(_introduction(session, trainer))
        if session.resumes and not trainer.done:
            say("Nothing of it was saved yet: it begins with its first epoch.")
        record.note(phase="training", steps=trainer.steps, epochs=session.plan.settings.epochs)
        trainer.run()
    if machine["backend"] != EXPORTS:
        raise Unexported(session, machine["backend"])
    return trainer


def _trainer(session: Session, record: RunRecord, report: Reporter) -> Trainer:
    from training.trainer import Trainer

    def tell(event: Progress | Epoch) -> None:
        record.report(event)
        report(event)

    trainer = Trainer(
        session.recipe,
        session.plan.settings,
        train=session.train,
        validation=session.validation,
        label_count=len(session.dataset.label_keys),
        seed=session.plan.seed,
        folder=session.folder,
        report=tell,
    )
    if session.resumes and (session.folder / runs.CHECKPOINT).is_file():
        trainer.resume()
    record.remember(trainer.history)
    return trainer


def _described(session: Session) -> Recipe:
    """Return the recipe as the report tells of it: its card is of its own data alone."""
    own = orders.has_own_data(recipes.find(session.plan.recipe), session.plan)
    return dataclasses.replace(
        session.recipe,
        dataset=session.dataset.name,
        title=_title(session),
        card=session.recipe.card if own else "",
    )


def _title(session: Session) -> str:
    return orders.title_of(recipes.find(session.plan.recipe), session.plan, session.dataset)


def _introduction(session: Session, trainer: Trainer) -> str:
    plan, settings = session.plan, session.plan.settings
    return (
        f"{_title(session)}: {trainer.network.count_params():,} parameters, "
        f"{len(session.train):,} training and {len(session.validation):,} validation images, "
        f"{counted(settings.epochs, 'epoch')} of "
        f"{counted(trainer.steps, 'step')}, seed {plan.seed}, in {session.folder}"
    )


def _row(session: Session) -> TrainingRun:
    """Return the run's row as it stands at this start; a resumed run keeps when it began."""
    plan = session.plan
    code = surroundings.code(Path(django_settings.BASE_DIR))
    row = _row_before(session)
    fields: dict[str, Any] = {
        "recipe": plan.recipe,
        "settings": plan.settings.as_json(),
        "seed": plan.seed,
        "smoke": plan.smoke,
        "plan": _rest_of(plan),
        "model_name": plan.model_name,
        "dataset_name": session.dataset.name[:200],
        "dataset_digest": plan.dataset_digest,
        "counts": session.counts(),
        "code_revision": code.revision or "",
        "code_changed": code.changed,
        "libraries": surroundings.library_versions(),
        "command": plan.command,
        "folder": str(session.folder.absolute()),
        "host": surroundings.host(),
        "pid": os.getpid(),
        "phase": "preparing",
        "outcome": Outcome.RUNNING,
        "reason": "",
        "ended_at": None,
    }
    for name, value in fields.items():
        setattr(row, name, value)
    return row


def _row_before(session: Session) -> TrainingRun:
    """Return the row that the run has already, or a new one; without a database a new one too."""
    plan = session.plan
    new = TrainingRun(id=UUID(plan.run_id)) if plan.run_id else TrainingRun()
    try:
        return TrainingRun.objects.filter(pk=new.pk).first() or new
    except DatabaseError:
        return new


def _origin(plan: RunPlan, run: TrainingRun) -> dict[str, Any]:
    """Return what a bundle tells of where it comes from; no folder of this machine."""
    told = {
        "architecture": plan.architecture,
        "dataset": orders.without_folder(plan.dataset),
        "weights": orders.without_folder(plan.weights),
        "weights_digest": plan.weights_digest,
        "group_by": plan.group_by,
        "max_bad": plan.max_bad,
        "code_revision": run.code_revision,
        "code_changed": run.code_changed,
        "processor": run.hardware.get("processor"),
        "cores": run.hardware.get("cores"),
        "accelerators": run.hardware.get("accelerators"),
        "backend": run.hardware.get("backend"),
    }
    return {name: value for name, value in told.items() if value not in ("", None)}


def _rest_of(plan: RunPlan) -> dict[str, Any]:
    """Return what the plan says beyond the row's own columns."""
    names = (
        "architecture", "dataset", "drawn", "group_by", "max_bad", "weights", "weights_digest",
        "model_title", "label_keys",
    )  # fmt: skip
    return {name: getattr(plan, name) for name in names}


def _end(
    session: Session,
    record: RunRecord,
    outcome: Outcome,
    reason: str,
    *,
    metrics: dict[str, Any] | None = None,
    bundle: Bundle | None = None,
) -> None:
    """Write how the run ended into its folder and its row."""
    runs.write_ending(session.folder, str(outcome), reason, metrics or {})
    record.end(
        outcome,
        reason,
        phase="",
        metrics=metrics or {},
        bundle_digest=bundle.digest if bundle else "",
    )
