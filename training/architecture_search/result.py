"""What came of a candidate: figures, or why there are none."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from training.architecture_search.asked import Asked
from training.architecture_search.candidates import Candidate
from training.evaluation import wilson_interval

RESULT = "result.json"
Ended = Literal["measured", "refused", "killed"]


class Refused(Exception):
    """A candidate cannot be trained or measured; `str()` says why. `killed`: its process died."""

    def __init__(self, reason: str, *, killed: bool = False) -> None:
        super().__init__(reason)
        self.killed = killed


@dataclass(frozen=True)
class Result:
    """What a candidate does, measured through the graph that would serve it.

    Attributes:
        accuracy, macro_f1, recall: shares from 0 to 1; recall by label key.
        loss: cross-entropy in nats, without calibration.
        right: for each measured picture, in order, "1" where its answer is the truth, else "0".
        milliseconds: `median` and `p95` of a core's time for one picture.
        serve_bytes: of `model.onnx`.
        features: rows and columns of the last spatial features; None where it has none.
        minutes: that training took, validation included, by the clock.
        epochs: passes over the training pictures; of kept features for a head alone.
        learnt_from: pictures, those that choose the epoch included.
    """

    accuracy: float
    macro_f1: float
    recall: Mapping[str, float]
    loss: float
    right: str
    milliseconds: Mapping[str, float]
    serve_bytes: int
    parameters: int
    features: tuple[int, int] | None
    minutes: float
    epochs: int
    learnt_from: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy (Wilson 1927)."""
        return wilson_interval(self.accuracy, len(self.right))


@dataclass(frozen=True)
class Outcome:
    """How it ended with a candidate; without a result, `reason` is a sentence.

    `known` is True for what was measured by an earlier search.
    """

    candidate: Candidate
    ended: Ended
    result: Result | None = None
    reason: str = ""
    known: bool = False


def write(folder: Path, asked: Asked, result: Result) -> None:
    """Keep a result, whole or not at all. Raises OSError."""
    fields = {"asked": asked.identity(), "result": dataclasses.asdict(result)}
    part = folder / f"{RESULT}.part"
    part.write_text(json.dumps(fields) + "\n")
    part.replace(folder / RESULT)


def read(folder: Path, asked: Asked) -> Result | None:
    """Return the result that is kept, None if there is none that answers what is asked."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads((folder / RESULT).read_text())
        if kept["asked"] == asked.identity():
            fields: dict[str, Any] = kept["result"]
            place = fields["features"]
            return Result(**{**fields, "features": tuple(place) if place else None})
    return None
