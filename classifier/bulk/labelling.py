"""The use case: pictures that a person named get their labels, and perhaps new places."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from classifier import imaging
from classifier.bulk import engine
from classifier.bulk.engine import Item, Network, Outcome, ReadError
from classifier.bulk.folders import ClassFolders, FoldersError
from classifier.bulk.labels import Author, LabelsFile, LabelsPrinted, Row
from classifier.bulk.sources import Sources

NOT_COPIED = "not_copied"
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True)
class Labelling:
    """What is to be done: these pictures, by this version, written there, at this pace.

    Attributes:
        folders: where pictures are brought to by label; None: they stay where they are.
        threads, batch_size: as the engine takes them.
    """

    sources: Sources
    author: Author
    labels: LabelsFile | LabelsPrinted
    folders: ClassFolders | None
    limits: imaging.Limits
    threads: int
    batch_size: int

    def run(self, served: Network, written: Callable[[Row], None]) -> None:
        """Classify what has no row yet; `written` is called after each row.

        A picture that was brought to its folder has its row afterwards, so that a run that is
        stopped in between finds it there. Raises LabelsError, FoldersError, SourceError.
        """
        outcomes = engine.run(
            served,
            self._undone(),
            limits=self.limits,
            decoders=self.threads,
            batch_size=self.batch_size,
        )
        with closing(outcomes):
            for outcome in outcomes:
                row = self._brought(self.author.row(outcome), outcome)
                self.labels.write(row)
                written(row)

    def count_left(self, total: int | None) -> int | None:
        """Return how many of `total` pictures have no row yet; None if that is not known."""
        if total is None or not self.labels.done:
            return total
        return sum(1 for _ in self._undone())

    def _undone(self) -> Iterator[Item]:
        return (item for item in self.sources if not self.labels.is_done(item.name))

    def _brought(self, row: Row, outcome: Outcome) -> Row:
        """Bring the picture to its label's folder; return the row, with what went wrong."""
        if self.folders is None or not row.label:
            return row
        try:
            self.folders.keep(outcome.item, row.label, outcome.content_sha256)
        except OSError as error:
            if error.errno in _DISK_FULL:
                raise FoldersError(f"{self.folders.root} is full: {error.strerror}.") from error
            sentence = f"It could not be copied: {error.strerror or error}."
            return replace(row, error_code=NOT_COPIED, error=sentence)
        except (FoldersError, ReadError) as error:
            return replace(row, error_code=NOT_COPIED, error=str(error))
        return row
