"""The candidates of a search, one after the other; one that fails ends itself and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from classifier.imaging import InputSpec
from training import runs
from training.architecture_search import asked as asking
from training.architecture_search import result
from training.architecture_search.architectures import SearchError
from training.architecture_search.asked import Asked, Budget, Source
from training.architecture_search.candidates import IMAGENET, NONE, Candidate
from training.architecture_search.result import Ended, Outcome, Refused

Measure = Callable[[Path], None]  # of the folder that says what is asked; raises Refused
DigestOf = Callable[[InputSpec], str]  # of the data set, as it is seen at a size
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
            if is_missing(asked.candidate.weights):
                raise Refused(f"The file {asked.candidate.weights} is gone.")
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


def is_missing(weights: str) -> bool:
    """Whether it names a file that is not there; what is downloaded shows later."""
    return weights not in (IMAGENET, NONE) and not Path(weights).is_file()


def check_weights(candidates: Sequence[Candidate]) -> None:
    """Raise SearchError for the first candidate whose weights are a file that is not there."""
    for each in candidates:
        if is_missing(each.weights):
            raise SearchError(
                f"Expected --weights imagenet, none or a file, for {each.label}. Received: "
                f"{each.weights}"
            )


def all_asked(
    candidates: Sequence[Candidate], budget: Budget, source: Source, digest_of: DigestOf
) -> list[Asked]:
    """Return what is asked of each candidate.

    Raises:
        SearchError: weights that are not there; said before the data are looked at.
        DatasetError: there is no such data set, or it cannot be used.
    """
    check_weights(candidates)
    asked = [Asked(each, budget, source, _digest_of(each.weights)) for each in candidates]
    return [replace(each, source=replace(source, digest=digest_of(each.input))) for each in asked]


def known_besides(search: Search, digest_of: DigestOf) -> list[Outcome]:
    """Return what earlier searches measured in the folder under the conditions of this one.

    The same budget and the same data, however the pictures are sized; what this search asks itself
    is left out.

    Raises:
        DatasetError: the data set cannot be loaded at a size that an earlier search had.
    """
    now = {each.folder_name for each in search.asked}
    found = []
    for path in sorted(search.folder.glob(f"*/{result.RESULT}")):
        with suppress(SearchError):
            asked = asking.read(path.parent)
            if asked.folder_name in now or asked.budget != search.asked[0].budget:
                continue
            known = result.read(path.parent, asked)
            if known and asked.source.digest == digest_of(asked.input):
                found.append(Outcome(asked.candidate, "measured", known, known=True))
    return found


def _digest_of(weights: str) -> str:
    path = Path(weights)
    if weights in (IMAGENET, NONE) or not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
