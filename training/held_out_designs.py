"""Leave one design out: train without a design of documents, then see whether it is known.

One training per design and seed, as `manage.py train front_back` does it, but for the design that
is kept away. What a run measured is kept in its folder, so that an interrupted series goes on
where it stopped.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.datasets import front_back
from training.datasets.dataset import Dataset
from training.evaluation import wilson_interval
from training.predicting import predict_logits
from training.progress import Reporter
from training.recipes.recipe import Recipe, Settings
from training.trainer import Trainer

RESULT = "held_out.json"
Load = Callable[[str], Dataset]


@dataclass(frozen=True)
class HeldOut:
    """What a network that never saw a design says of it.

    Attributes:
        right, wrong: file names of its pictures.
    """

    design: str
    seed: int
    right: tuple[str, ...]
    wrong: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.right) + len(self.wrong)

    @property
    def accuracy(self) -> float:
        return len(self.right) / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy (Wilson 1927)."""
        return wilson_interval(self.accuracy, self.count)


@dataclass(frozen=True)
class Series:
    """What is trained: the recipe, its settings, and how a source becomes a data set."""

    recipe: Recipe
    settings: Settings
    load: Load
    folder: Path
    cards: int = front_back.DRAWN

    def results(self, designs: list[str], seeds: list[int], report: Reporter) -> Iterator[HeldOut]:
        """Train and measure once for each seed and design; yield each result when it is there."""
        for seed in seeds:
            for design in designs:
                yield self._result(design, seed, report)

    def _result(self, design: str, seed: int, report: Reporter) -> HeldOut:
        folder = self.folder / f"{design}-seed{seed}"
        asked = self._asked(design, seed)
        known = _known(folder / RESULT, asked)
        if known is not None:
            return known
        folder.mkdir(parents=True, exist_ok=True)
        result = self._measured(self.load(self._source(design)), design, seed, folder, report)
        text = json.dumps({"asked": asked, "result": dataclasses.asdict(result)}, indent=1)
        (folder / RESULT).write_text(text)
        return result

    def _source(self, design: str) -> str:
        return f"{front_back.NAME}:cards={self.cards},without={design}"

    def _asked(self, design: str, seed: int) -> dict[str, Any]:
        return {
            "source": self._source(design),
            "seed": seed,
            "settings": self.settings.as_json(),
            "weights": self.recipe.weights,
        }

    def _measured(
        self, dataset: Dataset, design: str, seed: int, folder: Path, report: Reporter
    ) -> HeldOut:
        if dataset.validation is None:
            raise ValueError("Expected a data set with a validation split. Received: none")
        trainer = Trainer(
            self.recipe,
            self.settings,
            train=dataset.train,
            validation=dataset.validation,
            label_count=len(dataset.label_keys),
            seed=seed,
            folder=folder,
            report=report,
        )
        trainer.run()
        logits = predict_logits(trainer.best_network(), dataset.test.images)
        right = logits.argmax(axis=1) == dataset.test.labels
        return HeldOut(
            design, seed, _named(dataset.test.names, right), _named(dataset.test.names, ~right)
        )


def _named(names: tuple[str, ...], chosen: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, is_chosen in zip(names, chosen, strict=True) if is_chosen)


def _known(path: Path, asked: dict[str, Any]) -> HeldOut | None:
    """Return the result that is kept, if it is of the very same training."""
    if not path.is_file():
        return None
    kept = json.loads(path.read_text())
    if kept["asked"] != asked:
        return None
    fields = kept["result"]
    return HeldOut(fields["design"], fields["seed"], tuple(fields["right"]), tuple(fields["wrong"]))


def table(results: list[HeldOut]) -> str:
    """Return the results as lines for a person, with all designs together below."""
    lines = [f"{'design':20s} {'seed':>4s} {'accuracy':>9s}  95 % interval        pictures"]
    for result in results:
        lines.append(_row(result.design, str(result.seed), result.accuracy, result.count))
    right, count = sum(len(result.right) for result in results), sum(r.count for r in results)
    if count:
        lines.append(_row("all", "", right / count, count))
    return "\n".join(lines)


def _row(name: str, seed: str, accuracy: float, count: int) -> str:
    low, high = wilson_interval(accuracy, count)
    return f"{name:20s} {seed:>4s} {accuracy:9.2%}  {low:7.2%} to {high:7.2%}  {count:8,}"
