from __future__ import annotations

import keras
import numpy as np
import pytest

from training.muon import Muon, orthogonal


def test_a_step_has_singular_values_near_one() -> None:
    gradient = np.random.default_rng(0).normal(size=(3, 3, 16, 24)).astype(np.float32)

    step = np.asarray(keras.ops.convert_to_numpy(orthogonal(keras.ops.convert_to_tensor(gradient))))

    values = np.linalg.svd(step.reshape(-1, 24), compute_uv=False)
    assert 0.4 < values.min() <= values.max() < 1.4


@pytest.mark.parametrize("shape", [(1, 1, 4, 12), (3, 3, 4, 12)])
def test_a_step_keeps_the_singular_vectors(shape: tuple[int, int, int, int]) -> None:
    gradient = np.random.default_rng(1).normal(size=shape).astype(np.float32)

    step = np.asarray(keras.ops.convert_to_numpy(orthogonal(keras.ops.convert_to_tensor(gradient))))

    left, _, right = np.linalg.svd(gradient.reshape(-1, shape[-1]), full_matrices=False)
    between = left.T @ step.reshape(-1, shape[-1]) @ right.T
    assert np.allclose(between, np.diag(np.diag(between)), atol=1e-4)
    assert (np.diag(between) > 0).all()


def test_kernels_keep_their_norm_but_for_the_step_and_biases_move_by_sgd() -> None:
    kernel = keras.Variable(np.full((1, 1, 4, 4), 3.0, np.float32), name="kernel")
    bias = keras.Variable(np.zeros(4, np.float32), name="bias")
    optimizer = Muon(
        0.5, momentum=0.5, decay=0.0, scale=1.0, kernel_factor=0.1, kernel_momentum=0.0
    )

    optimizer.apply(
        [
            keras.ops.convert_to_tensor(np.zeros((1, 1, 4, 4), np.float32)),
            keras.ops.convert_to_tensor(np.ones(4, np.float32)),
        ],
        [kernel, bias],
    )

    assert np.linalg.norm(kernel.numpy()) == pytest.approx(2.0)
    assert bias.numpy() == pytest.approx(-0.75 * np.ones(4))  # Nesterov's: 0.5 and half of it


def test_it_lowers_a_loss() -> None:
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(8, 3),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    network.compile(
        Muon(0.1, momentum=0.9, decay=0.0, scale=1.0, kernel_factor=0.5, kernel_momentum=0.6),
        keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    rng = np.random.default_rng(0)
    labels = np.arange(32) % 2
    images = rng.normal(labels[:, None, None, None] * 0.5, 1, (32, 8, 8, 3)).astype(np.float32)
    targets = np.eye(2, dtype=np.float32)[labels]

    losses = [float(network.train_on_batch(images, targets)) for _ in range(20)]

    assert losses[-1] < losses[0] / 3
