"""How weights move: the learning-rate schedule, SGD with fast biases, and Lookahead."""

from __future__ import annotations

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

    def __init__(self, settings: Settings, total_steps: int) -> None:
        super().__init__()
        self.peak = settings.learning_rate
        self.start, self.end = settings.start_factor, settings.end_factor
        self.rising = max(1, int(settings.warmup * total_steps))
        self.falling = max(1, total_steps - self.rising)

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        up = self.start + (1 - self.start) * step / self.rising
        down = 1 + (self.end - 1) * ops.minimum(1.0, (step - self.rising) / self.falling)
        return self.peak * ops.where(step < self.rising, up, down)


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


def make_optimizer(settings: Settings, total_steps: int) -> keras.optimizers.Optimizer:
    """Return the optimizer that the settings declare, its schedule spread over all steps."""
    schedule = Triangle(settings, total_steps)
    if settings.optimizer == "adam":
        return keras.optimizers.Adam(schedule)
    return FastBiasSGD(
        schedule,
        momentum=settings.momentum,
        decay=settings.weight_decay,
        scale=settings.bias_scale,
    )


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
