"""A tiny run on one device and on two that share each batch, in a process of its own.

JAX learns how many virtual devices a processor has before it begins, so the environment says it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from training import hardware
from training.tests import tiny
from training.trainer import Trainer, TrainingError


def main() -> None:
    """Train in the folder that the command line names; print what came out of both as JSON."""
    folder = Path(sys.argv[1])
    alone = _trained(folder / "alone")
    with hardware.sharing(hardware.devices("all")):
        together = _trained(folder / "together")
        uneven = _refused(folder / "uneven")
    weights = [_weights(each) for each in (alone, together)]
    sys.stdout.write(
        json.dumps(
            {
                "backend": keras.config.backend(),
                "holding": [_devices(alone), _devices(together)],
                "histories": [
                    [asdict(line) for line in each.history] for each in (alone, together)
                ],
                "largest": float(max(np.abs(each).max() for each in weights[0])),
                "apart": float(
                    max(np.abs(one - two).max() for one, two in zip(*weights, strict=True))
                ),
                "uneven": uneven,
            }
        )
    )


def _trained(folder: Path) -> Trainer:
    trainer = tiny.trainer(
        folder, epochs="2", ema="0.9", class_weights="balanced", mixup="0.4", cutout="0.2"
    )
    trainer.run()
    return trainer


def _refused(folder: Path) -> str:
    try:
        tiny.trainer(folder, batch_size="15")
    except TrainingError as error:
        return str(error)
    return ""


def _weights(trainer: Trainer) -> list[Any]:
    network = trainer.best_network()
    return [keras.ops.convert_to_numpy(variable) for variable in network.trainable_variables]


def _devices(trainer: Trainer) -> list[int]:
    """Return how many devices hold each weight."""
    return [len(variable.value.devices()) for variable in trainer.network.trainable_variables]


if __name__ == "__main__":
    main()
