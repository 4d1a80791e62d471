"""A prediction in a person's words: names for keys, per cent for fractions, bars for numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from django.db.models import Q

from classifier.manifest import Role
from classifier.models import Label, Level, ModelVersion, Prediction, RegisteredModel
from classifier.wording import counted

# So many bars stand open; a longer list folds the rest away, unless that is one bar alone.
OPEN_BARS = 5

LEVEL_WORDS: Mapping[str, str] = {
    Level.HIGH: "High confidence",
    Level.MEDIUM: "Medium confidence",
    Level.LOW: "Low confidence",
}
# For a version that nobody measured level by level.
LEVEL_ADVICE: Mapping[str, str] = {
    Level.HIGH: "As sure as this model gets.",
    Level.MEDIUM: "Probably right, but worth a look of your own.",
    Level.LOW: "More of a guess. It may be something the model was never taught.",
}


def percent(fraction: float) -> str:
    """Return a probability (0 to 1) as per cent; never rounded up to certain or down to never."""
    if 0.9995 <= fraction < 1:
        return "> 99.9 %"
    if 0 < fraction < 0.0005:
        return "< 0.1 %"
    return f"{fraction:.1%}".replace("%", " %")


@dataclass(frozen=True)
class Bar:
    """One class of an answer. ``width`` is an SVG length in per cent of the whole bar."""

    name: str
    probability: float

    @property
    def percent(self) -> str:
        return percent(self.probability)

    @property
    def width(self) -> str:
        return f"{self.probability:.2%}"


@dataclass(frozen=True)
class Answer:
    """A prediction and the names that its registered model gives to label keys."""

    prediction: Prediction
    names: Mapping[str, str]

    @classmethod
    def of(cls, prediction: Prediction) -> Self:
        return cls(prediction, prediction.version.model.label_names())

    @property
    def label(self) -> str:
        return self.names.get(self.prediction.label, self.prediction.label)

    @property
    def percent(self) -> str:
        return percent(self.prediction.confidence)

    @property
    def level_words(self) -> str:
        return LEVEL_WORDS[self.prediction.level]

    @property
    def level_advice(self) -> str:
        """Say how often answers of this level were right when the version was measured."""
        manifest = self.prediction.version.manifest
        tested = manifest["metrics"].get("test", {})
        levels = manifest.get("levels") or tested.get("levels", {})
        measured = levels.get(self.prediction.level, {})
        precision, share = measured.get("precision"), measured.get("share")
        images = _images(tested)
        numbers = isinstance(precision, int | float) and isinstance(share, int | float)
        if not numbers or images is None:
            return LEVEL_ADVICE[self.prediction.level]
        level = str(Level(self.prediction.level).label).capitalize()
        return f"{level}: {_right(precision, round(share * images))}."

    @cached_property
    def not_sure_below(self) -> float | None:
        """The probability under which the version had better not answer; None: it has none."""
        found = self._not_sure.get("threshold")
        return float(found) if isinstance(found, int | float) else None

    @property
    def is_not_sure(self) -> bool:
        """Whether the version should rather not have answered: its label is a guess."""
        below = self.not_sure_below
        return below is not None and self.prediction.confidence < below

    @property
    def not_sure_advice(self) -> str:
        """Say what the threshold is worth."""
        below = _unbroken(self.not_sure_below or 0.0)
        tested: Mapping[str, Any] = self._not_sure.get("test") or {}
        advice = f"Below {below} this model had better not answer: take its label as a guess."
        precision, images = tested.get("precision"), _images(tested)
        if not isinstance(precision, int | float) or images is None:
            return advice
        answers = round((1 - tested["unanswered"]) * images)
        return f"{advice} Above, it was {_right(precision, answers)}."

    @property
    def summary(self) -> str:
        """The answer in one sentence, as a screen reader says it."""
        if self.is_not_sure:
            return f"Not sure. Best guess: {self.label}, {self.percent}."
        return f"{self.label}, {self.percent}. {self.level_words}."

    @property
    def can_explain(self) -> bool:
        """Whether the version's bundle has what it takes to show where the answer comes from."""
        files = self.prediction.version.manifest.get("files", ())
        return any(file["role"] == Role.EXPLAIN for file in files)

    @cached_property
    def bars(self) -> list[Bar]:
        ranked = self.prediction.ranked()
        return [Bar(self.names.get(key, key), probability) for key, probability in ranked]

    @property
    def open_bars(self) -> list[Bar]:
        return self.bars[: self._open]

    @property
    def folded_bars(self) -> list[Bar]:
        return self.bars[self._open :]

    @property
    def _open(self) -> int:
        return OPEN_BARS if len(self.bars) > OPEN_BARS + 1 else OPEN_BARS + 1

    @property
    def _not_sure(self) -> Mapping[str, Any]:
        return self.prediction.version.manifest.get("not_sure") or {}


def _unbroken(fraction: float) -> str:
    """Return per cent that no line ends in the midst of."""
    return percent(fraction).replace(" ", "\N{NO-BREAK SPACE}")


def _right(precision: float, answers: int) -> str:
    return f"right {_unbroken(precision)} of the time ({counted(answers, 'answer')} on test images)"


def _images(split: Mapping[str, Any]) -> int | None:
    images = split.get("images")
    return images if isinstance(images, int) and not isinstance(images, bool) else None


@dataclass(frozen=True)
class SideBySide:
    """What several versions say about one picture."""

    answers: tuple[Answer, ...]

    @classmethod
    def of(cls, predictions: list[Prediction]) -> Self:
        """Return their answers; label names are asked for once for each model."""
        models = {row.version.model_id: row.version.model for row in predictions}
        names = {key: model.label_names() for key, model in models.items()}
        return cls(tuple(Answer(row, names[row.version.model_id]) for row in predictions))

    @property
    def upload_id(self) -> object:
        return self.answers[0].prediction.upload_id

    @property
    def first(self) -> Answer:
        return self.answers[0]

    @property
    def agree(self) -> bool:
        """Whether all of them name the same label; of different models there is nothing to tell."""
        return len({answer.prediction.label for answer in self.answers}) == 1

    @property
    def of_one_model(self) -> bool:
        return len({answer.prediction.version.model_id for answer in self.answers}) == 1

    @property
    def verdict(self) -> str:
        if not self.of_one_model:
            return f"{len(self.answers)} answers"
        count = "Both" if len(self.answers) == 2 else f"All {len(self.answers)}"
        return f"{count} say {self.first.label}" if self.agree else "They disagree"

    @property
    def summary(self) -> str:
        said = " ".join(f"{row.prediction.version}: {row.summary}" for row in self.answers)
        return f"{self.verdict}. {said}"


@dataclass(frozen=True)
class Teacher:
    """What the front page says before there is an answer: who will answer, and what it knows.

    `models` are those to choose from: the ones with an active version, the default first.
    """

    model: RegisteredModel | None
    names: tuple[str, ...] = ()
    models: tuple[RegisteredModel, ...] = ()

    @classmethod
    def now(cls, wanted: str = "") -> Self:
        """Return the teacher of the model of this name, or of the default; takes two queries.

        Where the default has no active version, another that has one stands in for it.
        """
        found = list(
            RegisteredModel.objects.filter(Q(is_default=True) | Q(active_version__isnull=False))
            .select_related("active_version__model")
            .defer("active_version__manifest")
            .order_by("-is_default", "title", "name")
        )
        ready = tuple(model for model in found if model.active_version_id is not None)
        default = found[0] if found and found[0].is_default else None
        fallback = default if default in ready else next(iter(ready), default)
        model = next((model for model in ready if model.name == wanted), fallback)
        return cls(model, tuple(model.label_names().values()) if model else (), ready)

    @property
    def can_answer(self) -> bool:
        return self.model is not None and self.model.active_version_id is not None

    def active_versions(self) -> list[ModelVersion]:
        """Return what serves now, of each model one."""
        return [model.active_version for model in self.models if model.active_version is not None]


@dataclass(frozen=True)
class Vocabulary:
    """The names of all label keys of all registered models, by one query."""

    names: Mapping[tuple[int, str], str]

    @classmethod
    def load(cls) -> Self:
        rows = Label.objects.values_list("model_id", "key", "name")
        return cls({(model, key): name for model, key, name in rows})

    def answer(self, prediction: Prediction) -> Answer:
        model, key = prediction.version.model_id, prediction.label
        return Answer(prediction, {key: self.names.get((model, key), key)})
