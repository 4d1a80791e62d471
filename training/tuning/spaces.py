"""What a study searches: for each setting a range or a choice, written as a person writes it.

    learning_rate=0.0003:0.03:log    a number of the range, each decade as likely as another
    dropout=0:0.5                    a number of the range; a whole one where the setting is whole
    batch_size=32,64,128             one of these
    cutout=                          not searched: it stays as the recipe has it

The same words stand in a recipe's `space`, in an architecture's `SPACE` and behind `--space`; what
none of them names follows from the recipe's own settings. No Keras and no Optuna here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from training.recipes.recipe import BadSetting, Settings

Value = bool | int | float | str
Values = Mapping[str, Value]

# What trials are compared by must be the same for all of them.
_NEVER = {
    "epochs": "every trial trains as long as the others: --epochs sets how long",
    "validation": "trials are compared on the same pictures: --set validation=N says how many",
    "views": "trials are compared on one view of each picture",
}
# Changes to pictures: searched up to twice what the recipe has, and never beyond these.
_AUGMENTATION = {
    "shift": 4096.0, "rotation": 180.0, "zoom": 4.0, "shear": 60.0, "brightness": 0.9,
    "contrast": 0.9, "noise": 128.0, "cutout": 0.9, "mixup": 10.0,
}  # fmt: skip
_SIGNIFICANT = 4  # digits of a number that was drawn: no more are worth writing down


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; `log`: drawn evenly by order of magnitude."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __contains__(self, value: object) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high  # type: ignore[operator]

    def __str__(self) -> str:
        return f"{self.low:g}:{self.high:g}" + (":log" if self.log else "")


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    values: tuple[Value, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return ",".join(_written(value) for value in self.values)


Dimension = Range | Choice
Space = Mapping[str, Dimension]


@dataclass(frozen=True)
class Ground:
    """What can be searched: a recipe's settings, and what its architecture's `build` takes.

    Attributes:
        options: of the architecture, as the recipe has them or else as `build` does.
    """

    settings: Settings
    options: Values

    def value(self, name: str) -> Value:
        """Return what the recipe itself has."""
        if name in self.options:
            return self.options[name]
        value: Value = getattr(self.settings, name)
        return value

    def kind(self, name: str) -> str:
        """Return `int`, `float`, `bool` or `str`.

        Raises:
            BadSetting: there is no such setting, or it cannot be searched.
        """
        if name in _NEVER:
            raise BadSetting(f"{name} is not searched: {_NEVER[name]}.")
        if name in self.options:
            return type(self.options[name]).__name__
        # By its annotation: a recipe may write 15 for what may be 15.5 as well.
        known = {item.name: str(item.type) for item in dataclasses.fields(Settings)}
        if name not in known:
            names = sorted((known.keys() | self.options.keys()) - _NEVER.keys())
            raise BadSetting(f"Expected --space of one of {', '.join(names)}. Received: {name}")
        return known[name] if known[name] in ("int", "float", "bool") else "str"

    def check(self, name: str, value: Value) -> None:
        """Raise BadSetting for a value that the settings refuse."""
        if name not in self.options:
            self.settings.changed({name: _written(value)})


def space(
    ground: Ground, *layers: Mapping[str, str], only: Iterable[str] | None = None
) -> dict[str, Dimension]:
    """Return what is searched: the usual, changed by each layer of `name: words` in turn.

    Args:
        only: the names that are searched at all; None for every one there is.

    Raises:
        BadSetting: a name that is none, words that make no sense, values that the settings
            refuse, or nothing left to search.
    """
    words = usual(ground)
    for layer in layers:
        words |= layer
    found = {
        name: dimension
        for name, text in words.items()
        if (dimension := parsed(ground, name, text)) is not None
    }
    if only is not None:
        found = {name: found[name] for name in _known(only, found)}
    if not found:
        raise BadSetting("Expected at least one setting to search. Received: none")
    return found


def _known(only: Iterable[str], found: Mapping[str, Dimension]) -> list[str]:
    names = list(dict.fromkeys(only))
    for name in names:
        if name not in found:
            raise BadSetting(
                f"Expected --only of {', '.join(found)} (--space adds others). Received: {name}"
            )
    return names


def own(ground: Ground, space: Space) -> dict[str, Value] | None:
    """Return the recipe's own values of what is searched; None if the space leaves some out."""
    values = {name: ground.value(name) for name in space}
    return values if all(value in space[name] for name, value in values.items()) else None


def tidy(value: Value) -> Value:
    """Return a drawn number with four significant digits: what is trained is what is written."""
    return float(f"{value:.{_SIGNIFICANT}g}") if isinstance(value, float) else value


# -- words -----------------------------------------------------------------------------------------


def given(words: Iterable[str]) -> dict[str, str]:
    """Return `NAME=WORDS` pairs by name, as `--space` gives them.

    Raises:
        BadSetting: one has no `=`.
    """
    pairs = {}
    for word in words:
        name, separator, text = word.partition("=")
        if not separator:
            raise BadSetting(
                f"Expected --space NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C. Received: {word}"
            )
        pairs[name.strip()] = text.strip()
    return pairs


def parsed(ground: Ground, name: str, text: str) -> Dimension | None:
    """Return what the words say of a setting; None for no words.

    Raises:
        BadSetting: see `space`.
    """
    kind = ground.kind(name)
    if not text:
        return None
    dimension = _range(name, text, kind) if ":" in text else _choice(name, text, kind)
    for value in _ends(dimension):
        ground.check(name, value)
    return dimension


def _ends(dimension: Dimension) -> tuple[Value, ...]:
    if isinstance(dimension, Choice):
        return dimension.values
    ends = (dimension.low, dimension.high)
    return tuple(int(end) for end in ends) if dimension.whole else ends


def _range(name: str, text: str, kind: str) -> Range:
    low, high, *rest = text.split(":")
    if kind not in ("int", "float") or rest not in ([], ["log"]):
        expected = "NAME=LOW:HIGH or NAME=LOW:HIGH:log" if kind in ("int", "float") else "NAME=A,B"
        raise BadSetting(f"Expected --space {expected} for {name}. Received: {text}")
    ends = [_value(name, end, kind) for end in (low, high)]
    found = Range(float(ends[0]), float(ends[1]), bool(rest), whole=kind == "int")
    if not found.low < found.high:
        raise BadSetting(f"Expected a lower and a higher end for {name}. Received: {text}")
    if found.log and found.low <= 0:
        raise BadSetting(f"Expected {name} above 0 where the range is log. Received: {text}")
    return found


def _choice(name: str, text: str, kind: str) -> Choice:
    values = tuple(_value(name, part, kind) for part in text.split(","))
    if len(set(values)) < len(values):
        raise BadSetting(f"Expected each value of {name} once. Received: {text}")
    return Choice(values)


def _value(name: str, text: str, kind: str) -> Value:
    text = text.strip()
    if kind == "bool":
        if text not in ("true", "false"):
            raise BadSetting(f"Expected {name} as true or false. Received: {text!r}")
        return text == "true"
    if kind == "str":
        return text
    try:
        value = int(text) if kind == "int" else float(text)
    except ValueError as error:
        raise BadSetting(f"Expected {name} as {kind}. Received: {text!r}") from error
    if not math.isfinite(value):
        raise BadSetting(f"Expected {name} to be a finite number. Received: {text}")
    return value


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


# -- what is usual ---------------------------------------------------------------------------------


def usual(ground: Ground) -> dict[str, str]:
    """Return what is worth searching around the settings that a recipe has, in words.

    Rates within a tenth and five times of theirs (above that most runs diverge), batches of half
    and double, label smoothing, weight decay where there is any, the architecture's width, depth
    and dropout, and the changes to pictures that the recipe makes, up to twice as strong. Whether
    pictures may be turned or mirrored at all is not for a search to find out.
    """
    return {
        **_movement(ground.settings),
        **_shape(ground.options),
        **_augmentation(ground.settings),
    }


def _movement(settings: Settings) -> dict[str, str]:
    rate, batch = settings.learning_rate, settings.batch_size
    words = {"learning_rate": _around(rate, 0.1, 5)}
    if 0 < settings.head_epochs < settings.epochs:
        words["fine_tune_learning_rate"] = _around(settings.fine_tune_learning_rate, 0.1, 5)
    sizes = sorted({max(1, batch // 2), batch, batch * 2})
    words["batch_size"] = ",".join(map(str, sizes))
    if settings.weight_decay:
        words["weight_decay"] = _around(settings.weight_decay, 0.1, 10)
    words["label_smoothing"] = "0:0.2"
    return words


def _shape(options: Values) -> dict[str, str]:
    """Return what is searched of an architecture's options, by the names that they all share."""
    words = {}
    if "dropout" in options:
        words["dropout"] = "0:0.6"
    if "widen" in options:
        words["widen"] = _around(float(options["widen"]), 0.5, 2)
    if "depth" in options:
        depth = int(options["depth"])
        words["depth"] = f"{max(1, depth - 1)}:{depth + 1}"
    if "dense" in options:
        dense = int(options["dense"])
        words["dense"] = f"{max(1, dense // 4)}:{dense * 2}:log"
    return words


def _augmentation(settings: Settings) -> dict[str, str]:
    words = {
        name: f"0:{min(most, 2 * getattr(settings, name)):g}"
        for name, most in _AUGMENTATION.items()
        if getattr(settings, name)
    }
    if settings.crop < 1:
        words["crop"] = f"{max(0.05, settings.crop / 2):g}:1"
    return {"cutout": "0:0.3", **words}


def _around(value: float, down: float, up: float) -> str:
    return f"{value * down:g}:{value * up:g}:log"
