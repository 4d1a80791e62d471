"""The training loop: plain Keras 3, without Django, resumable at any step.

Everything random follows from the seed, the epoch and the step, and a checkpoint holds every
variable of network and optimizer: a run that was stopped ends where an unbroken one would.
"""

from __future__ import annotations

import csv
import importlib
import inspect
import io
import json
import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from training import augmentation, checkpoints, hardware
from training.augmentation import Moment
from training.checkpoints import TrainingError
from training.datasets.dataset import Split
from training.optimization import Lookahead, MovingAverage, make_optimizer, plateau_rate
from training.phases import plan_phases
from training.predicting import predict_logits
from training.prefetch import prefetched
from training.progress import Epoch, Progress, Reporter
from training.recipes.recipe import Recipe, Settings
from training.weights import NONE, WeightsError, WeightsUnavailable

__all__ = ["Diverged", "Trainer", "TrainingError", "Unbuildable", "fitting_batch"]

MOST_LEFT_OUT = 0.1  # of the training images, in an epoch


class Unbuildable(TrainingError):
    """The network cannot be built, or not started from these weights: not with this order."""


class Diverged(TrainingError):
    """The loss is no longer a number: the settings are to blame, not the machine."""


@dataclass
class _State:
    """Where a run stands, besides its variables: steps taken, and this epoch's sums so far."""

    done: int
    phase: int
    sums: npt.NDArray[np.float64]  # of loss and accuracy
    history: list[Epoch]


class Trainer:
    """Trains one recipe's network in a run folder.

    The folder holds `run.json` (what is trained, how), `checkpoint.npz` (to resume),
    `best.npz` (the weights of the best epoch by validation accuracy) and `history.csv`.

    Raises:
        TrainingError: splits that do not fit each other or the labels, pretrained weights that
            cannot be had or do not fit, a setting that the architecture cannot do, or a batch
            that the devices cannot share.
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
        check_splits(train, validation, label_count)
        self.recipe, self.settings, self.seed = recipe, settings, seed
        self.folder, self.report = folder, report
        self.train, self.validation = train, validation
        self.architecture = importlib.import_module(f"training.architectures.{recipe.architecture}")
        self.label_count = label_count
        self.batch_size = fitting_batch(settings.batch_size, len(train), hardware.shares())
        check_shared(self.batch_size, hardware.shares())
        self.steps = len(train) // self.batch_size
        self.total_steps = self.steps * settings.epochs
        self.phases = plan_phases(settings, pretrained=recipe.weights != NONE)
        self.state = _State(done=0, phase=0, sums=np.zeros(2), history=[])
        self.class_weights = self._class_weights()
        self._build()

    @property
    def done(self) -> int:
        """Steps taken."""
        return self.state.done

    @property
    def history(self) -> list[Epoch]:
        """The epochs that are over."""
        return self.state.history

    # -- the network and what moves it -------------------------------------------------------

    def _build(self) -> None:
        keras.utils.set_random_seed(self.seed)
        keras.config.set_dtype_policy(self.settings.precision)
        try:
            self.network = self._fresh_network(any_size=self.settings.small_epochs > 0)
        finally:
            keras.config.set_dtype_policy("float32")
        self._prepare()
        apart = getattr(self.architecture, "training_network", None)
        # The same layers; what learns may give the logits of its branches one by one.
        self.learning = apart(self.network) if apart else self.network
        _regularise(self.network, self.settings.l2)
        self._enter(0)
        self.lookahead = (
            Lookahead(self.network, self.total_steps) if self.settings.lookahead else None
        )
        self.average = MovingAverage(self.network, self.settings.ema) if self.settings.ema else None

    def _fresh_network(self, *, any_size: bool = False) -> keras.Model:
        _, height, width, _ = self.train.images.shape
        size = {"height": None, "width": None} if any_size else {"height": height, "width": width}
        try:
            network: keras.Model = self.architecture.build(
                self.label_count, **size, **self.recipe.architecture_options
            )
        except ValueError as error:
            if not any_size:
                raise
            raise Unbuildable(
                f"{self.recipe.architecture} takes pictures of one size only: set small_epochs "
                f"to 0. Received: {self.settings.small_epochs}"
            ) from error
        return network

    def _prepare(self) -> None:
        """Set the weights that do not start at random; `prepare` is told what it asks for."""
        prepare = getattr(self.architecture, "prepare", None)
        asked = set(inspect.signature(prepare).parameters) if prepare else set()
        weights = self.recipe.weights
        if weights != NONE and "weights" not in asked:
            raise Unbuildable(
                f"{self.recipe.architecture} starts from nothing: leave out --weights. "
                f"Received: {weights}"
            )
        known = {"weights": weights, **self.recipe.architecture_options}
        if prepare:
            try:
                prepare(
                    self.network,
                    self.train.images,
                    **{name: value for name, value in known.items() if name in asked},
                )
            except WeightsUnavailable as error:
                raise TrainingError(str(error)) from error
            except WeightsError as error:
                raise Unbuildable(str(error)) from error

    def _enter(self, index: int) -> None:
        """Begin a phase: freeze what does not learn in it; a new optimizer and schedule."""
        self.state.phase = index
        phase = self.phases[index]
        if phase.thawed is not None:
            self._freeze(phase.thawed)
        self.optimizer = make_optimizer(
            self.settings, self.steps * (phase.end - phase.first), phase.learning_rate
        )
        self.learning.compile(
            self.optimizer,
            keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=self.settings.label_smoothing
            ),
            metrics=["accuracy"],
            # TensorFlow is as fast without XLA here; JAX would run step by step without it.
            jit_compile=keras.config.backend() == "jax",
        )
        self.optimizer.build(self.learning.trainable_variables)
        self.fresh_graph = True

    def _freeze(self, thawed: int) -> None:
        if not hasattr(self.architecture, "freeze"):
            raise Unbuildable(
                f"{self.recipe.architecture} has no backbone to freeze: set head_epochs to 0. "
                f"Received: {self.settings.head_epochs}"
            )
        self.architecture.freeze(self.network, thawed)

    def _class_weights(self) -> npt.NDArray[np.float32] | None:
        """Return a weight per label, 1 on average over the training pictures; None for all 1."""
        if self.settings.class_weights == "none":
            return None
        counts = np.bincount(self.train.labels, minlength=self.label_count)
        return (len(self.train) / (self.label_count * counts)).astype(np.float32)

    # -- the run ---------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the last epoch; a KeyboardInterrupt leaves a checkpoint to resume from.

        Raises:
            TrainingError: the loss is no longer a number, or the disk is full.
        """
        try:
            if self.done // self.steps > len(self.history):
                # It was broken off after an epoch's last step, before what it brought was known.
                self._finish_epoch(len(self.history), time.monotonic())
            while self.done < self.total_steps and not self.out_of_patience():
                self._run_epoch(self.done // self.steps)
        except KeyboardInterrupt:
            self.save_checkpoint()
            raise

    def out_of_patience(self) -> bool:
        """Say whether the last phase brought nothing better for `patience` epochs."""
        patience = self.settings.patience
        epochs = self.history[self.phases[-1].first :]
        if not patience or len(epochs) <= patience:
            return False
        before, since = epochs[:-patience], epochs[-patience:]
        return max(line.validation_accuracy for line in since) <= max(
            line.validation_accuracy for line in before
        ) and min(line.validation_loss for line in since) >= min(
            line.validation_loss for line in before
        )

    def _run_epoch(self, epoch: int) -> None:
        if epoch >= self.phases[self.state.phase].end:
            self._enter(self.state.phase + 1)
        self._follow_plateau()
        if epoch == self.settings.small_epochs:  # pictures of another size
            self.fresh_graph = True
        started = saved = since = time.monotonic()
        first = timed = self.done % self.steps
        with closing(prefetched(self._batches(epoch, first))) as batches:
            for step, batch in enumerate(batches, start=first + 1):
                self._after_step(self.learning.train_on_batch(*batch, return_dict=True))
                now = time.monotonic()
                if self.fresh_graph:  # that step built the graph: it says nothing of the others
                    self.fresh_graph, since, timed = False, now, step
                pace = (now - since) / (step - timed) if step > timed else np.nan
                left = pace * (self.total_steps - self.done)
                self.report(self._progress(epoch, step, left))
                if now - saved > self.CHECKPOINT_SECONDS:
                    self.save_checkpoint()
                    saved = now
        self._finish_epoch(epoch, started)

    def _follow_plateau(self) -> None:
        if self.settings.schedule == "plateau":
            phase = self.phases[self.state.phase]
            losses = [line.validation_loss for line in self.history[phase.first :]]
            self.optimizer.learning_rate = plateau_rate(self.settings, phase.learning_rate, losses)

    def _after_step(self, figures: dict[str, float]) -> None:
        if not np.isfinite(figures["loss"]):
            raise _diverged("loss", figures["loss"], self.done + 1)
        self.state.done += 1
        self.state.sums += figures["loss"], figures["accuracy"]
        if self.lookahead:
            self.lookahead.after_step(self.done)
        if self.average:
            self.average.after_step(self.done)

    def _batches(self, epoch: int, first: int) -> Iterator[tuple[Any, ...]]:
        """Yield pictures, targets and, where classes are weighed, a weight per picture."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.train))
        mirrored = augmentation.alternating_mirror(len(self.train), epoch, self.seed)
        for step in range(first, self.steps):
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            images, targets = augmentation.augment(
                self.train.images[chosen],
                self._targets(self.train.labels[chosen]),
                mirrored[chosen],
                self.settings,
                Moment(self.seed, epoch, step),
            )
            if epoch < self.settings.small_epochs:
                images = augmentation.shrink(images, self.settings.small_side)
            weights = () if self.class_weights is None else (targets @ self.class_weights,)
            yield images, self._for_each_branch(targets), *weights

    def _targets(self, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return np.eye(self.label_count, dtype=np.float32)[labels]

    def _for_each_branch(self, targets: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Repeat targets (N, K) as what learns gives logits: as they are, or (N, branches, K)."""
        _, *branches, _ = self.learning.output_shape
        return np.repeat(targets[:, None], branches[0], axis=1) if branches else targets

    def _progress(self, epoch: int, step: int, left: float) -> Progress:
        loss, accuracy = self.state.sums / step
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
        with self._averaged():
            loss, accuracy = self._validate()
            if not np.isfinite(loss):
                raise _diverged("validation loss", loss, self.done)
            if accuracy >= max((past.validation_accuracy for past in self.history), default=0):
                checkpoints.write_arrays(
                    self.folder / "best.npz",
                    checkpoints.numbered("network", self.network.variables),
                )
        line = Epoch(
            epoch=epoch + 1,
            loss=float(self.state.sums[0] / self.steps),
            accuracy=float(self.state.sums[1] / self.steps),
            validation_loss=loss,
            validation_accuracy=accuracy,
            learning_rate=float(self.optimizer.learning_rate),
            seconds=time.monotonic() - started,
        )
        self.history.append(line)
        self.state.sums = np.zeros(2)
        self.save_checkpoint()
        self.report(line)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Let the network have its averaged weights, if it has any, whatever happens meanwhile."""
        if self.average:
            self.average.swap()
        try:
            yield
        finally:
            if self.average:
                self.average.swap()

    def _validate(self) -> tuple[float, float]:
        """Return mean cross-entropy in nats, without label smoothing, and accuracy."""
        logits = predict_logits(self.network, self.validation.images).astype(np.float64)
        with np.errstate(invalid="ignore"):  # of logits that are no numbers the loss tells
            logits -= logits.max(axis=1, keepdims=True)
            log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        labels = self.validation.labels
        right = log_probabilities.argmax(axis=1) == labels
        loss = -log_probabilities[np.arange(len(labels)), labels].mean()
        return float(loss), float(right.mean())

    # -- checkpoints -----------------------------------------------------------------------

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must share with the run that resumes from it."""
        return self.settings.as_json() | {
            "architecture": self.recipe.architecture,
            "architecture_options": dict(self.recipe.architecture_options),
            "labels": self.label_count,
            "training_images": len(self.train),
            "seed": self.seed,
        }

    def save_checkpoint(self) -> None:
        """Write everything that the run depends on, all or nothing.

        Raises:
            TrainingError: the disk is full; the checkpoint before stands.
        """
        arrays = checkpoints.numbered("network", self.network.variables)
        arrays |= checkpoints.numbered("optimizer", self.optimizer.variables)
        if self.lookahead:
            arrays |= checkpoints.numbered("lookahead", self.lookahead.slow)
        if self.average:
            arrays |= checkpoints.numbered("average", self.average.values)
        arrays["identity"] = np.asarray(json.dumps(self._identity()))
        arrays["sums"] = self.state.sums
        arrays["done"] = np.asarray(self.state.done)
        arrays["phase"] = np.asarray(self.state.phase)
        arrays["history"] = np.asarray(json.dumps([asdict(line) for line in self.history]))
        checkpoints.write_arrays(self.folder / "checkpoint.npz", arrays)
        self._write_history()

    def resume(self) -> None:
        """Go back to where the run folder's checkpoint stands.

        Raises:
            TrainingError: there is none, it is damaged, or of another network, data set or run.
        """
        path = self.folder / "checkpoint.npz"
        if not path.is_file():
            raise TrainingError(f"There is no checkpoint to resume from in {self.folder}.")
        with checkpoints.opened(path) as arrays:
            checkpoints.check_same(path, str(arrays["identity"]), self._identity())
            self._enter(int(arrays["phase"]))
            checkpoints.assign(self.network.variables, arrays, "network", path)
            checkpoints.assign(self.optimizer.variables, arrays, "optimizer", path)
            if self.lookahead:
                count = len(self.lookahead.slow)
                self.lookahead.restore(checkpoints.listed(arrays, "lookahead", count))
            if self.average:
                count = len(self.average.values)
                self.average.values = checkpoints.listed(arrays, "average", count)
            self.state.sums = arrays["sums"]
            self.state.done = int(arrays["done"])
            self.state.history = [Epoch(**line) for line in json.loads(str(arrays["history"]))]

    def _write_history(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, [field.name for field in fields(Epoch)])
        writer.writeheader()
        writer.writerows(asdict(line) for line in self.history)
        with checkpoints.replacing(self.folder / "history.csv") as file:
            file.write(text.getvalue().encode())

    def best_network(self) -> keras.Model:
        """Return the best epoch's network in float32, whatever precision it was trained in.

        Raises:
            TrainingError: no epoch was finished yet, or its weights are damaged.
        """
        path = self.folder / "best.npz"
        network = self._fresh_network()
        with checkpoints.opened(path) as arrays:
            checkpoints.assign(network.variables, arrays, "network", path)
        return network


def check_splits(train: Split, validation: Split, label_count: int) -> None:
    """Raise TrainingError where splits do not fit each other, or lack a class."""
    if label_count < 2:
        raise TrainingError(f"Expected at least 2 classes to tell apart. Received: {label_count}")
    for name, split in (("training", train), ("validation", validation)):
        if len(split) == 0 or len(split.images) != len(split):
            raise TrainingError(
                f"Expected {name} pictures, each with a label. Received: "
                f"{len(split.images)} pictures, {len(split)} labels"
            )
        if split.labels.min() < 0 or split.labels.max() >= label_count:
            raise TrainingError(
                f"Expected {name} labels from 0 to {label_count - 1}. Received: "
                f"{split.labels.min()} to {split.labels.max()}"
            )
    if train.images.shape[1:] != validation.images.shape[1:]:
        raise TrainingError(
            f"Expected validation pictures of shape {train.images.shape[1:]}, as in training. "
            f"Received: {validation.images.shape[1:]}"
        )
    missing = sorted(set(range(label_count)) - set(np.unique(train.labels).tolist()))
    if missing:
        raise TrainingError(
            f"Expected training pictures of each class. Received: none of class {missing[0]} "
            f"(counted from 0; {len(missing)} of {label_count} classes have none)"
        )


def fitting_batch(asked: int, images: int, devices: int = 1) -> int:
    """Return how many images a step takes: as many as asked, or a few less.

    Batches are all of one size, so each epoch leaves out the rest, other images each time. Where
    that would be more than a tenth of them, one more batch of a smaller size takes nearly all.
    """
    if images <= asked:
        return images
    if images % asked <= MOST_LEFT_OUT * images:
        return asked
    fitting = images // math.ceil(images / asked)
    return fitting - fitting % devices or asked


def check_shared(batch_size: int, devices: int) -> None:
    """Raise TrainingError where devices that share a batch would not all get as much of it."""
    if batch_size % devices:
        raise TrainingError(
            f"Expected a batch that {devices} devices can share, of {devices}, {2 * devices}, "
            f"{3 * devices} ... pictures. Received: {batch_size}. Change it with --set "
            f"batch_size={max(devices, batch_size - batch_size % devices)}"
        )


def _regularise(network: keras.Model, l2: float) -> None:
    """Add l2 times the sum of squares of every kernel to the loss; the saved network knows not.

    A mark on the variable, not an argument of the layer: so every architecture has it.
    """
    if l2:
        for variable in network.trainable_variables:
            if "kernel" in variable.name:
                variable.regularizer = keras.regularizers.L2(l2)


def _diverged(what: str, value: float, step: int) -> Diverged:
    return Diverged(
        f"The {what} became {value} after {step} steps. Try a lower learning rate "
        "(--set learning_rate=...)."
    )
