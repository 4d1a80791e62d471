"""How weights move: learning-rate schedules, optimizers, and moving averages of the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from training.recipes.recipe import Settings


class Triangle(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Rise linearly from `start_factor` of the peak, then fall linearly to `end_factor`.

    A one-cycle schedule (Smith & Topin 2018, "Super-Convergence").
    """

    def __init__(self, settings: Settings, total_steps: int, peak: float | None = None) -> None:
        super().__init__()
        self.peak = settings.learning_rate if peak is None else peak
        self.start, self.end = settings.start_factor, settings.end_factor
        self.rising = max(1, int(settings.warmup * total_steps))
        self.falling = max(1, total_steps - self.rising)

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        up = self.start + (1 - self.start) * step / self.rising
        down = self._down(ops.minimum(1.0, (step - self.rising) / self.falling))
        return self.peak * ops.where(step < self.rising, up, down)

    def _down(self, share: Any) -> Any:
        """Return the factor after this share (0..1) of the way down."""
        return 1 + (self.end - 1) * share


class Cosine(Triangle):
    """Rise linearly, then fall along half a cosine (Loshchilov & Hutter 2017, "SGDR")."""

    def _down(self, share: Any) -> Any:
        return self.end + (1 - self.end) * (1 + ops.cos(np.pi * share)) / 2


def make_rate(settings: Settings, total_steps: int, peak: float) -> Any:
    """Return the declared schedule over `total_steps`; a number where it does not follow steps."""
    if settings.schedule == "triangle":
        return Triangle(settings, total_steps, peak)
    if settings.schedule == "cosine":
        return Cosine(settings, total_steps, peak)
    return peak


def plateau_rate(settings: Settings, peak: float, losses: Sequence[float]) -> float:
    """Return the rate after epochs with these validation losses, under `schedule=plateau`.

    Each time `plateau_patience` epochs in a row bring no lower loss than before, the rate is
    multiplied by `plateau_factor`, down to `end_factor` of the peak.
    """
    lowest, waited, rate = float("inf"), 0, peak
    for loss in losses:
        waited = 0 if loss < lowest else waited + 1
        lowest = min(lowest, loss)
        if waited == settings.plateau_patience:
            rate, waited = rate * settings.plateau_factor, 0
    return max(rate, settings.end_factor * peak)


class FastBiasSGD(keras.optimizers.SGD):  # type: ignore[misc]
    """Nesterov SGD with coupled weight decay, where batch normalisation's biases learn faster.

    Scaling a gradient under SGD is scaling that weight's learning rate (Page 2018, "How to
    train your ResNet", part 8); the decay is not scaled with it.
    """

    def __init__(self, learning_rate: Any, *, momentum: float, decay: float, scale: float) -> None:
        super().__init__(learning_rate, momentum=momentum, nesterov=True)
        self.decay, self.scale = decay, scale

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if variable.name == "beta":
            gradient = gradient * self.scale
        gradient = gradient + self.decay * variable
        super().update_step(gradient, variable, learning_rate)


class CoupledAdam(keras.optimizers.Adam):  # type: ignore[misc]
    """Adam whose weight decay is added to the gradient, as L2 regularisation is."""

    def __init__(self, learning_rate: Any, *, decay: float) -> None:
        super().__init__(learning_rate)
        self.decay = decay

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        super().update_step(gradient + self.decay * variable, variable, learning_rate)


def _sgd(settings: Settings, rate: Any) -> keras.optimizers.Optimizer:
    return FastBiasSGD(
        rate,
        momentum=settings.momentum,
        decay=settings.weight_decay,
        scale=settings.bias_scale,
    )


def _adam(settings: Settings, rate: Any) -> keras.optimizers.Optimizer:
    if settings.weight_decay:
        return CoupledAdam(rate, decay=settings.weight_decay)
    return keras.optimizers.Adam(rate)


def _adamw(settings: Settings, rate: Any) -> keras.optimizers.Optimizer:
    """Decay spares biases and batch normalisation, whose pull to zero means nothing."""
    optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer


def _muon(settings: Settings, rate: Any) -> keras.optimizers.Optimizer:
    from training.muon import Muon  # it is built on what stands here

    return Muon(
        rate,
        momentum=settings.momentum,
        decay=settings.weight_decay,
        scale=settings.bias_scale,
        kernel_factor=settings.kernel_factor,
        kernel_momentum=settings.kernel_momentum,
    )


OPTIMIZERS: Mapping[str, Callable[[Settings, Any], keras.optimizers.Optimizer]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adamw,
    "muon": _muon,
}


def make_optimizer(
    settings: Settings, total_steps: int, peak: float | None = None
) -> keras.optimizers.Optimizer:
    """Return the optimizer that the settings declare, its schedule spread over all steps.

    `peak` stands in for the settings' learning rate where a phase has its own.
    """
    rate = make_rate(settings, total_steps, settings.learning_rate if peak is None else peak)
    return OPTIMIZERS[settings.optimizer](settings, rate)


class Lookahead:
    """Every five steps pull the weights to their moving average, harder and harder.

    After Zhang et al. 2019, "Lookahead Optimizer: k steps forward, 1 step back", with the
    cubic schedule of airbench94. Running statistics are averaged too.
    """

    EVERY = 5
    FINAL_DECAY = 0.95**5

    def __init__(self, network: keras.Model, total_steps: int) -> None:
        self.variables = [variable for variable in network.variables if variable.dtype == "float32"]
        self.total_steps = total_steps
        self.slow = [np.array(ops.convert_to_numpy(variable)) for variable in self.variables]

    def after_step(self, step: int) -> None:
        """Take note of the weights after `step` steps, counted from 1."""
        if step == self.total_steps:
            self._pull(decay=1.0)
        elif step % self.EVERY == 0:
            self._pull(decay=self.FINAL_DECAY * (step / self.total_steps) ** 3)

    def _pull(self, decay: float) -> None:
        for index, variable in enumerate(self.variables):
            slow = self.slow[index]
            slow += np.float32(1 - decay) * (ops.convert_to_numpy(variable) - slow)
            variable.assign(slow)

    def restore(self, slow: list[npt.NDArray[np.float32]]) -> None:
        self.slow = slow


class MovingAverage:
    """An exponential moving average of a network's weights and running statistics.

    The first steps count more: the decay after step t is at most (1 + t) / (10 + t), so that
    the random start is soon forgotten.
    """

    def __init__(self, network: keras.Model, decay: float) -> None:
        self.variables = [variable for variable in network.variables if variable.dtype == "float32"]
        self.decay = decay
        self.values = [np.array(ops.convert_to_numpy(variable)) for variable in self.variables]

    def after_step(self, step: int) -> None:
        """Take note of the weights after `step` steps, counted from 1."""
        rest = np.float32(1 - min(self.decay, (1 + step) / (10 + step)))
        for value, variable in zip(self.values, self.variables, strict=True):
            value += rest * (ops.convert_to_numpy(variable) - value)

    def swap(self) -> None:
        """Exchange the network's weights and their averages; once more puts them back."""
        for index, variable in enumerate(self.variables):
            own = np.array(ops.convert_to_numpy(variable))
            variable.assign(self.values[index])
            self.values[index] = own
