"""What people and programs read about a training run, from its row or from its folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from classifier.wording import duration
from training import runs
from training.models import Outcome, TrainingRun
from training.recipes.settings import Settings
from training.runs import RunPlan

DASH = "\N{EN DASH}"
# Of a plan and of a machine, what the names of fields do not say by themselves.
WORDS = {
    "dataset": "source of pictures",
    "drawn": "pictures drawn",
    "group_by": "grouped by",
    "input": "pictures decoded to",
    "label_keys": "labels",
    "max_bad": "unreadable files, at most",
    "memory_gb": "memory, GB",
    "model_title": "model's title",
    "weights_digest": "SHA-256 of the weights",
}
UNCHANGED = {item.name: item.default for item in fields(Settings) if item.default is not MISSING}


@dataclass(frozen=True)
class Description:
    """A run in words: its title, how it stands, facts by heading, and its epochs' lines."""

    title: str
    state: str
    why: str
    facts: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    history: tuple[Mapping[str, Any], ...]


def of_row(run: TrainingRun) -> Description:
    """Return what the database knows of a run."""
    facts = (
        ("Outcome", _outcome(run)),
        ("What was trained", _what(run)),
        *_settings(run.settings),
        ("Where", _where(run)),
        ("Libraries", pairs(run.libraries)),
    )
    return Description(str(run), run.state, run.why, facts, tuple(run.history))


def of_folder(folder: Path) -> Description:
    """Return what a run's folder tells where no database knows of it. Raises RunError."""
    plan = runs.read(folder)
    ending = runs.read_ending(folder)
    state = ending.outcome if ending else "not finished, as far as its folder says"
    what = {name: value for name, value in plan.as_json().items() if name != "settings"}
    facts = (
        ("Outcome", figures(ending.metrics if ending else {})),
        ("What was trained", _named(what)),
        *_settings(plan.settings.as_json()),
    )
    title = f"{plan.recipe}, seed {plan.seed}, in {folder}"
    history = tuple(runs.read_history(folder))
    return Description(title, state, ending.reason if ending else "", facts, history)


def as_json(run: TrainingRun) -> dict[str, Any]:
    """Return the JSON object that stands for a run."""
    plain = (
        "recipe", "settings", "seed", "smoke", "plan", "model_name", "dataset_name",
        "dataset_digest", "counts", "code_revision", "code_changed", "libraries", "hardware",
        "command", "folder", "host", "pid", "phase", "epoch", "epochs", "step", "steps", "loss",
        "accuracy", "validation_accuracy", "seconds_left", "history", "metrics", "bundle_digest",
    )  # fmt: skip
    return {
        "id": str(run.pk),
        **{name: getattr(run, name) for name in plain},
        "state": run.state,
        "reason": run.why,
        "started_at": run.started_at.isoformat(),
        "heard_at": run.heard_at.isoformat(),
        "ended_at": run.ended_at.isoformat() if run.ended_at else None,
        "seconds": round(run.seconds, 1),
        "test_accuracy": run.test_accuracy,
        "version": str(run.version) if run.version else None,
    }


def epoch(line: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cells of an epoch: number, loss, accuracy, both on validation, rate, seconds."""
    return (
        f"{line['epoch']:.0f}",
        _number(line["loss"]),
        share(line["accuracy"]),
        _number(line["validation_loss"]),
        share(line["validation_accuracy"]),
        _number(line["learning_rate"]),
        _number(line["seconds"]),
    )


def progress(run: TrainingRun) -> str:
    """Return how far a run is or came, short enough for a column."""
    if run.outcome == Outcome.RUNNING and run.phase != "training":
        return run.phase or DASH
    if not run.epochs:
        return DASH
    return f"epoch {run.epoch}/{run.epochs}"


def share(value: float | None) -> str:
    return DASH if value is None else f"{value:.2%}"


def pairs(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return a mapping's items as text, nested ones by dotted keys."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += [(f"{key}.{inner}", text) for inner, text in pairs(value)]
        elif isinstance(value, list | tuple):
            rows.append((key, ", ".join(map(str, value)) or DASH))
        else:
            rows.append((key, _text(value)))
    return tuple(rows)


def _named(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what is there of a plan or a machine, by words instead of names of fields."""
    nothing: tuple[object, ...] = ("", (), [], {})
    there = {
        key: value
        for key, value in values.items()
        if value is not None and value is not False and value not in nothing
    }
    return pairs({WORDS.get(key, key.replace("_", " ")): there[key] for key in there})


def _settings(
    settings: Mapping[str, Any],
) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """Return what a recipe or a person set and, in one line, the rest, which nobody did."""
    rest = {key: value for key, value in settings.items() if UNCHANGED.get(key, DASH) == value}
    chosen = {key: value for key, value in settings.items() if key not in rest}
    unchanged = ", ".join(f"{key} {value}" for key, value in pairs(rest))
    return (("Settings", (*pairs(chosen), ("the rest", unchanged or DASH))),)


def figures(metrics: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the single numbers that were measured on the test split."""
    test = metrics.get("test")
    if not isinstance(test, Mapping):
        return ()
    rows = []
    if "accuracy" in test:
        rows.append(("test accuracy", share(test["accuracy"])))
    if "accuracy_interval" in test:
        low, high = test["accuracy_interval"]
        rows.append(("95 % interval", f"{low:.2%} to {high:.2%}"))
    if "ece" in test:
        rows.append(("calibration error", share(test["ece"])))
    if "loss" in test:
        rows.append(("test loss", _text(test["loss"])))
    if "images" in test:
        rows.append(("test images", f"{test['images']:,}"))
    return tuple(rows)


def _outcome(run: TrainingRun) -> tuple[tuple[str, str], ...]:
    return (
        ("state", run.state),
        ("progress", progress(run)),
        ("validation accuracy", share(run.validation_accuracy)),
        *figures(run.metrics),
        ("started", f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("took" if run.ended_at else "so far", duration(run.seconds)),
        ("version", str(run.version) if run.version else "not registered"),
    )


def _what(run: TrainingRun) -> tuple[tuple[str, str], ...]:
    code = run.code_revision or "not a checkout"
    changed = " with changes of its own" if run.code_changed else ""
    return (
        ("id", str(run.pk)),
        ("recipe", run.recipe),
        ("seed", str(run.seed)),
        ("model", run.model_name),
        ("data set", run.dataset_name),
        ("digest", run.dataset_digest),
        *((f"{split} pictures", f"{count:,}") for split, count in run.counts.items()),
        *_named(run.plan),
        ("code", f"{code}{changed}"),
        ("command", run.command),
        ("folder", run.folder),
    )


def _where(run: TrainingRun) -> tuple[tuple[str, str], ...]:
    return (("host", run.host), ("process", str(run.pid)), *_named(run.hardware))


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.4g}"


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return DASH if value in (None, "") else str(value)


def plan_of(run: TrainingRun) -> RunPlan:
    """Return the plan that the row was made of. Raises TypeError or ValueError (BadSetting)."""
    return RunPlan.from_json(
        {
            "recipe": run.recipe,
            "settings": run.settings,
            "seed": run.seed,
            "smoke": run.smoke,
            "dataset_digest": run.dataset_digest,
            "command": run.command,
            "model_name": run.model_name,
            "run_id": str(run.pk),
            **run.plan,
        }
    )
