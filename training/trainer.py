"""The training loop: plain Keras 3, without Django, resumable at any step.

Everything random follows from the seed, the epoch and the step, and a checkpoint holds every
variable of network and optimizer: a run that was stopped ends where an unbroken one would.
"""

from __future__ import annotations

import csv
import importlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from training import augmentation
from training.datasets.dataset import Split
from training.optimization import Lookahead, make_optimizer
from training.progress import Epoch, Progress, Reporter
from training.recipes.recipe import Recipe, Settings


class TrainingError(Exception):
    """The run cannot go on; the message says why and what to do."""


class Trainer:
    """Trains one recipe's network in a run folder.

    The folder holds `run.json` (what is trained, how), `checkpoint.npz` (to resume),
    `best.npz` (the weights of the best epoch by validation accuracy) and `history.csv`.
    """

    CHECKPOINT_SECONDS = 120.0

    def __init__(
        self,
        recipe: Recipe,
        settings: Settings,
        *,
        train: Split,
        validation: Split,
        label_count: int,
        seed: int,
        folder: Path,
        report: Reporter,
    ) -> None:
        self.settings, self.seed, self.folder, self.report = settings, seed, folder, report
        self.train, self.validation = train, validation
        self.architecture = importlib.import_module(f"training.architectures.{recipe.architecture}")
        self.label_count = label_count
        self.batch_size = min(settings.batch_size, len(train))
        self.steps = len(train) // self.batch_size
        self.total_steps = self.steps * settings.epochs
        self.history: list[Epoch] = []
        self.done = 0  # steps taken
        self.sums = np.zeros(2)  # of loss and accuracy over this epoch's steps so far
        self._build()

    def _build(self) -> None:
        keras.utils.set_random_seed(self.seed)
        keras.config.set_dtype_policy(self.settings.precision)
        try:
            self.network = self._fresh_network()
        finally:
            keras.config.set_dtype_policy("float32")
        if hasattr(self.architecture, "prepare"):
            self.architecture.prepare(self.network, self.train.images)
        self.optimizer = make_optimizer(self.settings, self.total_steps)
        self.network.compile(
            self.optimizer,
            keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=self.settings.label_smoothing
            ),
            metrics=["accuracy"],
            jit_compile=False,
        )
        self.optimizer.build(self.network.trainable_variables)
        self.lookahead = (
            Lookahead(self.network, self.total_steps) if self.settings.lookahead else None
        )

    def _fresh_network(self) -> keras.Model:
        _, height, width, _ = self.train.images.shape
        network: keras.Model = self.architecture.build(self.label_count, height=height, width=width)
        return network

    # -- the run ---------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the last epoch; a KeyboardInterrupt leaves a checkpoint to resume from.

        Raises:
            TrainingError: the loss is no longer a number.
        """
        try:
            while self.done < self.total_steps:
                self._run_epoch(self.done // self.steps)
        except KeyboardInterrupt:
            self.save_checkpoint()
            raise

    def _run_epoch(self, epoch: int) -> None:
        started = saved = time.monotonic()
        first = self.done % self.steps
        for step, (images, targets) in enumerate(self._batches(epoch, first), start=first + 1):
            self._after_step(self.network.train_on_batch(images, targets, return_dict=True))
            now = time.monotonic()
            left = (now - started) / (step - first) * (self.total_steps - self.done)
            self.report(self._progress(epoch, step, left))
            if now - saved > self.CHECKPOINT_SECONDS:
                self.save_checkpoint()
                saved = now
        self._finish_epoch(epoch, started)

    def _after_step(self, figures: dict[str, float]) -> None:
        if not np.isfinite(figures["loss"]):
            raise TrainingError(
                f"The loss became {figures['loss']} after {self.done + 1} steps. Try a lower "
                "learning rate (--set learning_rate=...)."
            )
        self.done += 1
        self.sums += figures["loss"], figures["accuracy"]
        if self.lookahead:
            self.lookahead.after_step(self.done)

    def _batches(self, epoch: int, first: int) -> Iterator[tuple[Any, Any]]:
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.train))
        mirrored = augmentation.alternating_mirror(len(self.train), epoch, self.seed)
        for step in range(first, self.steps):
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            images = self.train.images[chosen]
            if self.settings.alternating_flip:
                images = augmentation.flip(images, mirrored[chosen])
            rng = np.random.default_rng([self.seed, epoch, step])
            images = augmentation.shift(images, self.settings.shift, rng)
            yield images.astype(np.float32), self._targets(self.train.labels[chosen])

    def _targets(self, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return np.eye(self.label_count, dtype=np.float32)[labels]

    def _progress(self, epoch: int, step: int, left: float) -> Progress:
        loss, accuracy = self.sums / step
        return Progress(
            epoch=epoch + 1,
            epochs=self.settings.epochs,
            step=step,
            steps=self.steps,
            loss=float(loss),
            accuracy=float(accuracy),
            learning_rate=float(self.optimizer.learning_rate),
            seconds_left=left,
        )

    def _finish_epoch(self, epoch: int, started: float) -> None:
        loss, accuracy = self._validate()
        line = Epoch(
            epoch=epoch + 1,
            loss=float(self.sums[0] / self.steps),
            accuracy=float(self.sums[1] / self.steps),
            validation_loss=loss,
            validation_accuracy=accuracy,
            learning_rate=float(self.optimizer.learning_rate),
            seconds=time.monotonic() - started,
        )
        if accuracy >= max((past.validation_accuracy for past in self.history), default=0):
            _write_arrays(self.folder / "best.npz", _numbered("network", self.network.variables))
        self.history.append(line)
        self.sums = np.zeros(2)
        self.save_checkpoint()
        self.report(line)

    def _validate(self) -> tuple[float, float]:
        """Return mean cross-entropy in nats, without label smoothing, and accuracy."""
        logits = predict_logits(self.network, self.validation.images).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        labels = self.validation.labels
        right = log_probabilities.argmax(axis=1) == labels
        loss = -log_probabilities[np.arange(len(labels)), labels].mean()
        return float(loss), float(right.mean())

    # -- checkpoints -----------------------------------------------------------------------

    def save_checkpoint(self) -> None:
        """Write everything that the run depends on, all or nothing."""
        arrays = _numbered("network", self.network.variables)
        arrays |= _numbered("optimizer", self.optimizer.variables)
        if self.lookahead:
            arrays |= _numbered("lookahead", self.lookahead.slow)
        arrays["sums"] = self.sums
        arrays["done"] = np.asarray(self.done)
        arrays["history"] = np.asarray(json.dumps([asdict(line) for line in self.history]))
        _write_arrays(self.folder / "checkpoint.npz", arrays)
        self._write_history()

    def resume(self) -> None:
        """Go back to where the run folder's checkpoint stands.

        Raises:
            TrainingError: there is none, or it is of another network.
        """
        path = self.folder / "checkpoint.npz"
        if not path.is_file():
            raise TrainingError(f"There is no checkpoint to resume from in {self.folder}.")
        with np.load(path) as arrays:
            _assign(self.network.variables, arrays, "network", path)
            _assign(self.optimizer.variables, arrays, "optimizer", path)
            if self.lookahead:
                count = len(self.lookahead.slow)
                self.lookahead.restore([arrays[f"lookahead_{i}"] for i in range(count)])
            self.sums = arrays["sums"]
            self.done = int(arrays["done"])
            self.history = [Epoch(**line) for line in json.loads(str(arrays["history"]))]

    def _write_history(self) -> None:
        with (self.folder / "history.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Epoch)])
            writer.writeheader()
            writer.writerows(asdict(line) for line in self.history)

    def best_network(self) -> keras.Model:
        """Return the best epoch's network in float32, whatever precision it was trained in."""
        path = self.folder / "best.npz"
        network = self._fresh_network()
        with np.load(path) as arrays:
            _assign(network.variables, arrays, "network", path)
        return network


def predict_logits(
    network: keras.Model, images: npt.NDArray[np.uint8], batch_size: int = 500
) -> npt.NDArray[np.float32]:
    """Return the network's logits (N, K) for pictures (N, H, W, 3), in inference mode."""
    parts = [
        keras.ops.convert_to_numpy(
            network.predict_on_batch(images[start : start + batch_size].astype(np.float32))
        )
        for start in range(0, len(images), batch_size)
    ]
    return np.concatenate(parts)


def _numbered(prefix: str, values: list[Any]) -> dict[str, npt.NDArray[Any]]:
    return {
        f"{prefix}_{index}": np.asarray(keras.ops.convert_to_numpy(value))
        for index, value in enumerate(values)
    }


def _assign(variables: list[Any], arrays: Any, prefix: str, path: Path) -> None:
    names = [name for name in arrays.files if name.startswith(f"{prefix}_")]
    if len(names) != len(variables):
        raise TrainingError(
            f"{path} is of another network or optimizer. Expected {len(variables)} "
            f"{prefix} arrays. Received: {len(names)}"
        )
    for index, variable in enumerate(variables):
        value = arrays[f"{prefix}_{index}"]
        if value.shape != tuple(variable.shape):
            raise TrainingError(
                f"{path} is of another network. Expected {variable.path} of shape "
                f"{tuple(variable.shape)}. Received: {value.shape}"
            )
        variable.assign(value)


def _write_arrays(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
