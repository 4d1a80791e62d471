"""The candidates of a search, one after the other; one that fails ends itself and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from classifier.imaging import InputSpec
from training import runs
from training.architecture_search import result
from training.architecture_search.asked import Asked, Budget, Source
from training.architecture_search.candidates import IMAGENET, NONE, Candidate
from training.architecture_search.result import Ended, Outcome, Refused
from training.datasets.dataset import Dataset

Measure = Callable[[Path], None]  # of the folder that says what is asked; raises Refused
Load = Callable[[InputSpec], Dataset]
Started = Callable[[int, Asked], None]  # the number among all, counted from 1


@dataclass(frozen=True)
class Search:
    """What is asked of each candidate, the folder that keeps it, and what trains and measures one.

    `measure` leaves the result in the folder that it is given.
    """

    asked: Sequence[Asked]
    folder: Path
    measure: Measure

    def outcomes(self, started: Started = lambda number, asked: None) -> Iterator[Outcome]:
        """Yield how each candidate ended; what was measured before is not trained again.

        Raises:
            runs.RunError: another process searches in the folder, or it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise runs.RunError(f"{self.folder} cannot be written: {error.strerror}.") from error
        with runs.held(self.folder):
            for number, asked in enumerate(self.asked, start=1):
                known = result.read(self._of(asked), asked)
                if known is None:
                    started(number, asked)
                    yield self._outcome(asked)
                else:
                    yield Outcome(asked.candidate, "measured", known, known=True)

    def _of(self, asked: Asked) -> Path:
        return self.folder / asked.folder_name

    def _outcome(self, asked: Asked) -> Outcome:
        folder = self._of(asked)
        try:
            check_weights(asked.candidate.weights)
            asked.write(folder)
            self.measure(folder)
        except Refused as refusal:
            ended: Ended = "killed" if refusal.killed else "refused"
            return Outcome(asked.candidate, ended, reason=str(refusal))
        except OSError as error:
            reason = f"{error.filename or folder}: {error.strerror or error}."
            return Outcome(asked.candidate, "refused", reason=reason)
        found = result.read(folder, asked)
        if found is None:
            reason = "It ended without a result. Start the same search again."
            return Outcome(asked.candidate, "refused", reason=reason)
        return Outcome(asked.candidate, "measured", found)


def check_weights(weights: str) -> None:
    """Raise Refused unless there is such a file; what is downloaded shows later."""
    if weights not in (IMAGENET, NONE) and not Path(weights).is_file():
        raise Refused(f"There is no file {weights}. Give imagenet, none or the path of a file.")


def all_asked(
    candidates: Sequence[Candidate], budget: Budget, source: Source, load: Load
) -> list[Asked]:
    """Return what is asked of each candidate.

    `load` gives the data set at a size; it is loaded once for each size, and no picture is decoded.

    Raises:
        DatasetError: there is no such data set, or it cannot be used.
    """
    asked = [Asked(each, budget, source, _digest_of(each.weights)) for each in candidates]
    digests = {each.input.width: "" for each in asked}
    for each in asked:
        side = each.input.width
        digests[side] = digests[side] or load(each.input).digest
    return [
        replace(each, source=replace(source, digest=digests[each.input.width])) for each in asked
    ]


def _digest_of(weights: str) -> str:
    path = Path(weights)
    if weights in (IMAGENET, NONE) or not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
