"""A prediction in a person's words: names for keys, per cent for fractions, bars for numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from classifier.models import Label, Level, Prediction, RegisteredModel

# So many bars stand open; a longer list folds the rest away.
OPEN_BARS = 10

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
        measured = self.prediction.version.manifest["metrics"].get("test", {})
        level = measured.get("levels", {}).get(self.prediction.level, {})
        precision, images = level.get("precision"), measured.get("images")
        if not isinstance(precision, int | float) or not isinstance(images, int):
            return LEVEL_ADVICE[self.prediction.level]
        return (
            f"Measured on {images:,} test images, answers at this level were right "
            f"{percent(precision)} of the time."
        )

    @cached_property
    def bars(self) -> list[Bar]:
        ranked = self.prediction.ranked()
        return [Bar(self.names.get(key, key), probability) for key, probability in ranked]

    @property
    def open_bars(self) -> list[Bar]:
        return self.bars[:OPEN_BARS]

    @property
    def folded_bars(self) -> list[Bar]:
        return self.bars[OPEN_BARS:]


@dataclass(frozen=True)
class Teacher:
    """What the front page says before there is an answer: who will answer, and what it knows."""

    model: RegisteredModel | None
    names: tuple[str, ...] = ()

    @classmethod
    def now(cls) -> Self:
        model = (
            RegisteredModel.objects.filter(is_default=True)
            .select_related("active_version__model")
            .defer("active_version__manifest")
            .first()
        )
        return cls(model, tuple(model.label_names().values()) if model else ())

    @property
    def can_answer(self) -> bool:
        return self.model is not None and self.model.active_version_id is not None


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

    def choices(self) -> list[tuple[str, str]]:
        """Return (key, name) pairs to choose from, by name; a key of two models stands once."""
        by_key = {key: name for (_, key), name in self.names.items()}
        return sorted(by_key.items(), key=lambda pair: pair[1].casefold())
