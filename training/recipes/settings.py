"""What `--set key=value` may change of a recipe: every setting, its kind and its range."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Optimizer = Literal["sgd", "adam", "adamw", "muon"]
Schedule = Literal["triangle", "cosine", "constant", "plateau"]
ClassWeights = Literal["none", "balanced"]
Precision = Literal["float32", "mixed_bfloat16"]
Views = Literal["one", "mirrored", "mirrored_shifted"]

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "optimizer": get_args(Optimizer),
    "schedule": get_args(Schedule),
    "class_weights": get_args(ClassWeights),
    "views": get_args(Views),
    "precision": get_args(Precision),
}
_ABOVE_ZERO = (
    "epochs", "batch_size", "validation", "learning_rate", "fine_tune_learning_rate",
    "plateau_patience", "kernel_factor",
)  # fmt: skip
_AT_LEAST_ZERO = (
    "weight_decay", "bias_scale", "start_factor", "end_factor", "l2", "patience", "head_epochs",
    "fine_tune_layers", "shift", "zoom", "mixup", "small_epochs",
)  # fmt: skip
_BELOW_ONE = (
    "momentum",
    "kernel_momentum",
    "warmup",
    "label_smoothing",
    "ema",
    "cutout",
    "brightness",
    "contrast",
)
# Both ends are allowed.
_BETWEEN: Mapping[str, tuple[float, float]] = {
    "plateau_factor": (0.01, 0.99),
    "rotation": (0, 180),
    "shear": (0, 60),
    "crop": (0.05, 1),
    "small_side": (0.1, 1),
    "noise": (0, 128),
    # From here on the settings above stay numbers that a float32 and a pixel can hold.
    "zoom": (0, 4),
    "shift": (0, 4096),
    "mixup": (0, 10),
    "bias_scale": (0, 1e6),
    "epochs": (1, 100_000),
    "batch_size": (1, 1_000_000),
}


class BadSetting(ValueError):
    """A setting that no recipe has, or a value that it cannot take."""


@dataclass(frozen=True)
class Settings:
    """Everything that `--set key=value` may change.

    The length of a run
        epochs: passes over the training split, in all.
        batch_size: pictures in a step; a few less where an epoch would leave out over a tenth.
        small_epochs: the first so many epochs show pictures shrunk to `small_side`, which saves
            time; for convolutional networks only.
        small_side: the share of its side that a picture is shrunk to in `small_epochs`; an epoch
            costs about the square of it.
        patience: stop after so many epochs without a better validation accuracy or loss; 0
            never stops early. Counted in the last phase only, where there are two. Not for `muon`:
            validation stays low until the rate falls, as batch normalisation's averages lag.
        validation: pictures of the training split held out, where the data set brings no
            validation split of its own.

    How the weights move
        optimizer: `sgd` (Nesterov momentum), `adam`, `adamw` or `muon`.
        learning_rate: the schedule's peak, for a loss averaged over the batch.
        momentum: of `sgd`, and of what is no convolution's kernel under `muon`.
        weight_decay: per step; added to the gradient for `sgd`, `adam` and `muon` (coupled; `muon`
            gives convolutions' kernels a fixed norm instead), taken off the weights at the pace
            of the learning rate for `adamw` (decoupled; Loshchilov & Hutter 2019).
        bias_scale: how much faster batch normalisation's biases learn, `sgd` and `muon`.
        kernel_factor: the learning rate of convolutions' kernels, of that of the other weights,
            `muon` only.
        kernel_momentum: the momentum of convolutions' kernels, `muon` only.
        lookahead: whether weights are pulled to their own moving average every five steps.
        ema: decay per step of a moving average of the weights, which then is what is
            validated and kept; 0 keeps the weights themselves.

    The learning rate over time
        schedule: `triangle` (one cycle: up, then down, both straight), `cosine` (straight up,
            then half a cosine down), `constant`, or `plateau` (lowered each time the
            validation loss stops falling).
        warmup: the share of steps over which the rate rises (`triangle`, `cosine`).
        start_factor: the rate at the first step, of the peak.
        end_factor: the rate at the last step, of the peak; `plateau` never goes below it.
        plateau_patience: epochs without a lower validation loss before the rate is lowered.
        plateau_factor: what it is then multiplied by.

    Against overfitting and imbalance
        label_smoothing: the probability mass spread over all labels.
        l2: times the sum of all squared kernels, added to the loss.
        class_weights: `balanced` weighs a picture by how rare its class is. Rare classes are then
            found more often, and their probabilities are higher than they are frequent.

    Transfer: two phases
        head_epochs: how many of `epochs`, the first ones, train the head alone over a frozen
            backbone; 0 trains everything from the start.
        fine_tune_layers: how many layers of the backbone, from the top, learn after that. A
            number larger than the backbone lets all learn.
        fine_tune_learning_rate: the peak of the schedule that then starts anew.

    Changes to training pictures (see `training.augmentation`)
        alternating_flip: mirror each picture in turns, else never.
        shift: whole pixels that a picture is moved by, at most.
        rotation: degrees that it is turned by, at most, either way.
        zoom: 0.25 enlarges or shrinks it by up to a factor of 1.25.
        shear: degrees that its upright lines are slanted by, at most, either way.
        crop: the smallest share of its area that is cut out and resized; 1 cuts nothing.
        brightness: the largest change of brightness, as a share.
        contrast: the largest change of contrast, as a share.
        noise: standard deviation of Gaussian noise, of 255 levels.
        cutout: side of a grey square laid somewhere over it, as a share of its side.
        mixup: alpha of the Beta distribution that mixes two pictures and their labels.

    Serving and arithmetic
        views: of a picture, whose logits the served graph averages: `one` (itself), `mirrored`
            (with its mirror image) or `mirrored_shifted` (both, and both moved by a pixel in two
            directions).
        precision: what training computes in; the saved network is float32. `mixed_bfloat16`
            pays on GPUs and on processors with AMX. With AVX-512 alone it is slower: 85
            instead of 158 images a second for `cifar10_cnn` on two such cores.

    Raises BadSetting for a value of another kind or out of range.
    """

    epochs: int
    batch_size: int
    optimizer: Optimizer
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 0.0
    bias_scale: float = 1.0
    warmup: float = 0.2
    start_factor: float = 0.2
    end_factor: float = 0.01
    label_smoothing: float = 0.0
    lookahead: bool = False
    alternating_flip: bool = True
    shift: int = 2
    validation: int = 2500
    views: Views = "one"
    precision: Precision = "float32"
    patience: int = 0
    ema: float = 0.0
    schedule: Schedule = "triangle"
    plateau_patience: int = 3
    plateau_factor: float = 0.3
    l2: float = 0.0
    class_weights: ClassWeights = "none"
    head_epochs: int = 0
    fine_tune_layers: int = 1000
    fine_tune_learning_rate: float = 0.0001
    rotation: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    crop: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    cutout: float = 0.0
    mixup: float = 0.0
    small_epochs: int = 0
    small_side: float = 0.75
    kernel_factor: float = 0.16
    kernel_momentum: float = 0.6

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            _check_kind(item.name, getattr(self, item.name), str(item.type))
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise BadSetting(
                    f"Expected {name} to be one of {', '.join(choices)}. "
                    f"Received: {getattr(self, name)!r}"
                )
        self._check_ranges()
        if self.optimizer == "muon":
            self._check("momentum", self.momentum > 0, "above 0 for muon")

    def _check_ranges(self) -> None:
        for name in _ABOVE_ZERO:
            self._check(name, getattr(self, name) > 0, "above 0")
        for name in _AT_LEAST_ZERO:
            self._check(name, getattr(self, name) >= 0, "of at least 0")
        for name in _BELOW_ONE:
            self._check(name, 0 <= getattr(self, name) < 1, "from 0 to below 1")
        if self.small_epochs:
            whole = f"below epochs, which is {self.epochs}: the last ones show whole pictures"
            self._check("small_epochs", self.small_epochs < self.epochs, whole)
        for name, (low, high) in _BETWEEN.items():
            self._check(name, low <= getattr(self, name) <= high, f"from {low:g} to {high:g}")

    def _check(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise BadSetting(f"Expected {name} {expected}. Received: {getattr(self, name)}")

    def changed(self, changes: Mapping[str, str]) -> Settings:
        """Return a copy with settings parsed from text, as `--set key=value` gives them.

        Raises:
            BadSetting: a name that is none, or a value of the wrong kind or out of range.
        """
        values = {name: self._parsed(name, text) for name, text in changes.items()}
        return dataclasses.replace(self, **values)

    def _parsed(self, name: str, text: str) -> Any:
        known = {item.name: str(item.type) for item in dataclasses.fields(self)}
        if name not in known:
            raise BadSetting(
                f"Expected one of the settings {', '.join(sorted(known))}. Received: {name}"
            )
        # By its annotation: a recipe may write 15 for what may be 15.5 as well.
        kind = {"int": int, "float": float, "bool": bool}.get(known[name], str)
        if kind is bool:
            return _parsed_bool(name, text)
        try:
            return kind(text)
        except ValueError as error:
            raise BadSetting(f"Expected {name} as {kind.__name__}. Received: {text!r}") from error

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def _check_kind(name: str, value: object, kind: str) -> None:
    """`kind` is the annotation's text; a whole number will do for a float, a bool for neither."""
    if kind == "bool":
        fits = isinstance(value, bool)
    elif kind in ("int", "float"):
        fits = isinstance(value, int | float if kind == "float" else int)
        fits = fits and not isinstance(value, bool)
    else:
        fits, kind = isinstance(value, str), "text"
    if not fits:
        raise BadSetting(f"Expected {name} as {kind}. Received: {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise BadSetting(f"Expected {name} to be a finite number. Received: {value}")


def _parsed_bool(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise BadSetting(f"Expected {name} as true or false. Received: {text!r}")
    return text.lower() == "true"
