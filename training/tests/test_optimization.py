from typing import get_args

import keras
import numpy as np
import pytest

from training.optimization import Cosine, MovingAverage, Triangle, make_optimizer, plateau_rate
from training.recipes.settings import Optimizer, Settings

SETTINGS = Settings(
    epochs=1, batch_size=1, optimizer="sgd", learning_rate=0.1, warmup=0.2, end_factor=0.1
)


def _rates(schedule: Triangle) -> list[float]:
    return [float(schedule(step)) for step in range(101)]


@pytest.mark.parametrize("kind", [Triangle, Cosine])
def test_a_schedule_rises_to_its_peak_and_falls_to_its_end(kind: type[Triangle]) -> None:
    rates = _rates(kind(SETTINGS, 100))
    assert rates[0] == pytest.approx(0.1 * SETTINGS.start_factor)
    assert rates[20] == max(rates) == pytest.approx(0.1)
    assert rates[100] == pytest.approx(0.01)
    assert rates[20:] == sorted(rates[20:], reverse=True)


def test_the_cosine_falls_slowly_first() -> None:
    triangle, cosine = _rates(Triangle(SETTINGS, 100)), _rates(Cosine(SETTINGS, 100))
    assert cosine[30] > triangle[30]
    assert cosine[60] == pytest.approx(triangle[60])
    assert cosine[90] < triangle[90]


def test_the_rate_is_lowered_each_time_the_loss_stays_up_and_has_a_floor() -> None:
    settings = Settings(**SETTINGS.as_json() | {"plateau_patience": 2, "plateau_factor": 0.5})
    falling = [1.0, 0.9, 0.8]
    assert plateau_rate(settings, 1.0, falling) == 1.0
    assert plateau_rate(settings, 1.0, [*falling, 0.8]) == 1.0
    assert plateau_rate(settings, 1.0, [*falling, 0.8, 0.9]) == 0.5
    assert plateau_rate(settings, 1.0, [*falling, 0.8, 0.9, 0.7, 0.9, 0.9]) == 0.25
    assert plateau_rate(settings, 1.0, [1.0] * 100) == pytest.approx(0.1)


def _moved(optimizer: str, gradient: float, decay: float) -> float:
    """Return by how much one step moves a kernel of 2."""
    settings = Settings(
        epochs=1, batch_size=1, optimizer=optimizer, learning_rate=0.1, momentum=0.0,  # type: ignore[arg-type]
        schedule="constant", weight_decay=decay,
    )  # fmt: skip
    variable = keras.Variable(np.array([[2.0]], np.float32), name="kernel")
    moving = make_optimizer(settings, 10)
    moving.build([variable])
    moving.apply([keras.ops.convert_to_tensor(np.array([[gradient]], np.float32))])
    return float(keras.ops.convert_to_numpy(variable)[0, 0]) - 2


def test_adamw_takes_decay_off_the_weights_and_adam_adds_it_to_the_gradient() -> None:
    # Adam's first step is the learning rate, whatever the gradient's size.
    assert _moved("adam", 1.0, 0.0) == pytest.approx(-0.1, abs=1e-4)
    assert _moved("adam", 1.0, 0.5) == pytest.approx(-0.1, abs=1e-4)
    assert _moved("adam", -1.0, 0.6) == pytest.approx(-0.1, abs=1e-4)
    assert _moved("adamw", 1.0, 0.5) == pytest.approx(-0.1 - 0.1 * 0.5 * 2, abs=1e-4)


def test_sgd_adds_decay_to_the_gradient() -> None:
    assert _moved("sgd", 1.0, 0.5) == pytest.approx(-0.1 * (1 + 0.5 * 2))


def test_the_moving_average_follows_the_weights_slowly_and_is_swapped_in_and_out() -> None:
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    kernel = network.layers[0].kernel
    kernel.assign([[0.0]])
    average = MovingAverage(network, 0.9)
    kernel.assign([[1.0]])
    for step in range(1000, 1002):
        average.after_step(step)
    assert average.values[0] == pytest.approx(1 - 0.9**2)
    average.swap()
    assert keras.ops.convert_to_numpy(kernel) == pytest.approx(1 - 0.9**2)
    average.swap()
    assert keras.ops.convert_to_numpy(kernel) == 1.0


@pytest.mark.parametrize("name", get_args(Optimizer))
def test_every_declared_optimizer_moves_the_weights(name: Optimizer) -> None:
    settings = Settings(epochs=1, batch_size=1, optimizer=name, learning_rate=0.1)
    kernel = keras.Variable(np.ones((3, 3, 2, 4), np.float32), name="kernel")
    moving = make_optimizer(settings, 10)
    moving.build([kernel])
    gradient = np.random.default_rng(0).normal(size=kernel.shape).astype("float32")
    moving.apply([keras.ops.convert_to_tensor(gradient)])
    moved = keras.ops.convert_to_numpy(kernel)
    assert np.isfinite(moved).all()
    assert not np.allclose(moved, 1)
