"""labels.csv or labels.jsonl: a line for every picture, written as answers come.

A line is never changed once it stands. A run that was stopped, at whatever byte, is taken up by
the next: the torn last line goes, and what stands there is not done again.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

from classifier.bulk.engine import Outcome
from classifier.bulk.sources import printable
from classifier.manifest import Manifest

FORMATS = (".csv", ".jsonl")

_FIXED = (
    "path", "model", "version", "label", "name", "confidence", "level", "not_sure", "error_code",
    "error",
)  # fmt: skip
_LONGEST_ROW = 1_000_000  # bytes
# A spreadsheet takes a cell that starts like this for a formula, in full-width forms too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # noqa: RUF001


class LabelsError(Exception):
    """A file of labels cannot be written or taken up; `str()` is a sentence for a person."""


@dataclass(frozen=True)
class Row:
    """What stands in a line: an answer, or an error.

    `confidence` is the probability of `label`; `others` has the next most probable labels with
    theirs. `not_sure` is None where the version has no threshold for that.
    """

    path: str
    model: str
    version: int
    label: str = ""
    name: str = ""
    confidence: float | None = None
    level: str = ""
    not_sure: bool | None = None
    error_code: str = ""
    error: str = ""
    others: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Author:
    """The version that answers, and how many of its labels a row has at most.

    `names` has the labels' display names by key.
    """

    model: str
    version: int
    manifest: Manifest
    names: Mapping[str, str]
    top: int = 1

    def row(self, outcome: Outcome) -> Row:
        """Return what is written of an outcome."""
        path, probabilities = printable(outcome.item.name), outcome.probabilities
        if probabilities is None:
            return Row(
                path,
                self.model,
                self.version,
                error_code=outcome.error_code,
                error=printable(outcome.error),
            )
        # Equal ones in the order of the labels, so that the first is the one shown elsewhere.
        ranked = (-probabilities).argsort(kind="stable")[: self.top]
        best, *others = (
            (self.manifest.labels[at].key, float(probabilities[at])) for at in ranked.tolist()
        )
        label, confidence = best
        return Row(
            path,
            self.model,
            self.version,
            label,
            self.names.get(label, label),
            confidence,
            self.manifest.level(label, confidence),
            self._is_not_sure(confidence),
            others=tuple(others),
        )

    def _is_not_sure(self, confidence: float) -> bool | None:
        found = self.manifest.not_sure
        return None if found is None or found.threshold is None else confidence < found.threshold


@dataclass
class Summary:
    """What was counted of all rows, those of earlier runs among them.

    `answers` is keyed by label and level, `failures` by error code; `failed` has the first of the
    pictures that failed, with the reason.
    """

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[str, str]] = field(default_factory=list)
    shown: int = 20

    def add(self, path: str, label: str, level: str, error_code: str, error: str) -> None:
        if label:
            self.answers[label, level] += 1
        if error_code:
            self.failures[error_code] += 1
            if len(self.failed) < self.shown:
                self.failed.append((path, error))

    @property
    def failed_count(self) -> int:
        return self.failures.total()


class Form(Protocol):
    """How rows are written: a header of its own, or none, and a line for each."""

    def header(self) -> str: ...

    def line(self, row: Row) -> str: ...

    def path(self, name: str) -> str:
        """Return how the file has the name of an item."""
        ...

    def is_ours(self, first: str) -> bool:
        """Whether a file that begins with this line, torn if it has no end, was written here."""
        ...

    def read(self, first: str, lines: Iterator[str]) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of a file by its columns; ValueError for what is none."""
        ...


class SupportsWrite(Protocol):
    """A stream of text."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


class CsvForm:
    """CSV as spreadsheets read it; no cell of it is ever taken for a formula."""

    def __init__(self, top: int) -> None:
        self._columns = [*_FIXED]
        for place in range(2, top + 1):
            self._columns += [f"label_{place}", f"confidence_{place}"]

    def header(self) -> str:
        return _csv_line(self._columns)

    def line(self, row: Row) -> str:
        cells: list[object] = [
            self.path(row.path),
            row.model,
            row.version,
            _safe(row.label),
            _safe(row.name),
            "" if row.confidence is None else f"{row.confidence:.6f}",
            row.level,
            "" if row.not_sure is None else str(row.not_sure).lower(),
            row.error_code,
            _safe(row.error),
        ]
        for label, confidence in row.others:
            cells += [_safe(label), f"{confidence:.6f}"]
        return _csv_line(cells + [""] * (len(self._columns) - len(cells)))

    def path(self, name: str) -> str:
        name = printable(name)
        # The same file, and no formula.
        return f"./{name}" if name.startswith(_FORMULA) else name

    def is_ours(self, first: str) -> bool:
        start = ",".join(_FIXED)
        return first.startswith(start) or start.startswith(first)  # no prefix of it has an end

    def read(self, first: str, lines: Iterator[str]) -> Iterator[Mapping[str, Any]]:
        if first != self.header():
            raise ValueError("it was begun with another --top")
        for cells in csv.reader(lines):
            if len(cells) != len(self._columns) or not cells[2].isdecimal():
                raise ValueError(f"a line of it is none that was written here: {cells[:1]}")
            row = dict(zip(self._columns, cells, strict=True))
            yield row | {"version": int(cells[2])}


class JsonlForm:
    """JSON Lines: an object for each row, with `top` where more than one label was asked for."""

    def __init__(self, top: int) -> None:
        self._top = top

    def header(self) -> str:
        return ""

    def line(self, row: Row) -> str:
        cells: dict[str, Any] = {name: getattr(row, name) for name in _FIXED}
        if row.confidence is not None:
            cells["confidence"] = round(row.confidence, 6)
        if self._top > 1:
            ranked = [(row.label, row.confidence or 0.0), *row.others] if row.label else []
            cells["top"] = [{"label": key, "confidence": round(p, 6)} for key, p in ranked]
        return json.dumps(cells, ensure_ascii=False) + "\n"

    def path(self, name: str) -> str:
        return printable(name)

    def is_ours(self, first: str) -> bool:
        start = '{"path": "'
        try:
            row = json.loads(first)
        except ValueError:
            return "\n" not in first and (first.startswith(start) or start.startswith(first))
        return isinstance(row, dict) and set(_FIXED) <= set(row)

    def read(self, first: str, lines: Iterator[str]) -> Iterator[Mapping[str, Any]]:
        for line in (first, *lines):
            row = json.loads(line)
            if not isinstance(row, dict) or not set(_FIXED) <= set(row):
                raise ValueError(f"a line of it is none that was written here: {line[:50]}")
            if len(row.get("top", ())) > self._top or ("top" in row) != (self._top > 1):
                raise ValueError("it was begun with another --top")
            yield row


def form_for(suffix: str, top: int) -> Form:
    """Return the form of a file that ends like this; LabelsError if there is none."""
    if suffix not in FORMATS:
        endings = " or ".join(FORMATS)
        raise LabelsError(f"Expected --out as a file that ends in {endings}. Received: {suffix!r}")
    return CsvForm(top) if suffix == ".csv" else JsonlForm(top)


class LabelsFile:
    """A file of labels, opened for what comes next; nobody else writes to it meanwhile.

    With `restart` everything in it goes first, with `retry_failed` the rows of failed pictures.

    Attributes:
        done: the paths that stood in it when it was begun, as `form.path` writes them.
        summary: of all rows in it.
    """

    def __init__(
        self, path: Path, author: Author, *, restart: bool = False, retry_failed: bool = False
    ) -> None:
        self.path = path
        self.author = author
        self.restart, self.retry_failed = restart, retry_failed
        self.form = form_for(path.suffix.lower(), author.top)
        self.done: set[str] = set()
        self.summary = Summary()
        self._file: BinaryIO | None = None

    def begin(self) -> None:
        """Open the file and read what stands in it, or start it.

        Raises LabelsError if it is another's file, another version's, being written, or cannot be
        opened.
        """
        try:
            self._file = self._open()
            self._check_ours()
            if self.restart:
                self._file.truncate(0)
            elif self.retry_failed:
                self._forget_failed()
            self._take_up()
            if not self._file.tell():
                self._file.write(self.form.header().encode("utf-8"))
        except OSError as error:
            raise self._trouble(error) from error

    def is_done(self, name: str) -> bool:
        """Whether an earlier run has written the row of this item."""
        return self.form.path(name) in self.done

    def write(self, row: Row) -> None:
        """Write a row. It stands there for good after the next `flush`. Raises LabelsError."""
        self.summary.add(row.path, row.label, row.level, row.error_code, row.error)
        try:
            self._stream.write(self.form.line(row).encode("utf-8"))
        except OSError as error:
            raise self._trouble(error) from error

    def flush(self) -> None:
        """Hand over to the system what was written: it stays there whatever kills this process."""
        try:
            self._stream.flush()
        except OSError as error:
            raise self._trouble(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                raise self._trouble(error) from error

    @property
    def _stream(self) -> BinaryIO:
        if self._file is None:
            raise RuntimeError("Expected begin() first. Received: a file that was not begun")
        return self._file

    def _trouble(self, error: OSError) -> LabelsError:
        return LabelsError(f"{self.path} cannot be written: {error.strerror or error}.")

    def _open(self) -> BinaryIO:
        file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise LabelsError(f"Another run is writing {self.path} just now.") from error
        return file

    def _check_ours(self) -> None:
        if not self.form.is_ours(self._stream.readline(_LONGEST_ROW).decode("utf-8", "replace")):
            raise LabelsError(
                f"{self.path} is there and was not written by this command. Choose another name "
                "with --out; it is left as it is."
            )
        self._stream.seek(0)

    def _take_up(self) -> None:
        """Read every whole row, cut off a torn one, and stand at the end."""
        stream = self._stream
        end = _end_of_lines(stream)
        stream.truncate(end)
        stream.seek(0)
        for row in self._rows():
            self._check_author(row)
            self.done.add(str(row["path"]))
            self.summary.add(*(str(row[name]) for name in _SUMMED))
        stream.seek(end)

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        lines = (line.decode("utf-8") for line in iter(self._stream.readline, b""))
        first = next(lines, None)
        if first is None:
            return
        try:
            yield from self.form.read(first, lines)
        except (ValueError, csv.Error) as error:  # a UnicodeDecodeError among them
            raise LabelsError(
                f"{self.path} cannot be taken up: {error}. Begin it anew with --restart, or "
                "choose another name with --out."
            ) from error

    def _check_author(self, row: Mapping[str, Any]) -> None:
        begun, mine = (row["model"], row["version"]), (self.author.model, self.author.version)
        if begun != mine:
            raise LabelsError(
                f"{self.path} was begun with {begun[0]} v{begun[1]}, and this is {mine[0]} "
                f"v{mine[1]}. Go on with --model {begun[0]} --version {begun[1]}, begin the file "
                "anew with --restart, or choose another name with --out."
            )

    def _forget_failed(self) -> None:
        """Write the file once more without the rows of failed pictures, all or nothing."""
        stream = self._stream
        stream.truncate(_end_of_lines(stream))
        stream.seek(0)
        path = self.path.resolve()
        partial = path.with_name(f"{path.name}.partial")
        with partial.open("wb") as kept:
            for line in self._lines_of_answers():
                kept.write(line)
        shutil.copymode(path, partial)
        partial.replace(path)
        self._file = self._open()
        stream.close()

    def _lines_of_answers(self) -> Iterator[bytes]:
        lines = self._stream.readlines()
        header = lines[:1] if self.form.header() else []
        yield from header
        self._stream.seek(0)
        for line, row in zip(lines[len(header) :], self._rows(), strict=True):
            self._check_author(row)
            if not row["error_code"]:
                yield line


class LabelsPrinted:
    """The same rows as CSV on a stream, which knows nothing of earlier runs."""

    def __init__(self, stream: SupportsWrite, author: Author) -> None:
        self.author = author
        self.form = CsvForm(author.top)
        self.done: frozenset[str] = frozenset()
        self.summary = Summary()
        self._stream = stream

    def begin(self) -> None:
        """Write the header."""
        self._stream.write(self.form.header())

    def is_done(self, name: str) -> bool:
        return False

    def write(self, row: Row) -> None:
        self.summary.add(row.path, row.label, row.level, row.error_code, row.error)
        self._stream.write(self.form.line(row))

    def flush(self) -> None:
        self._stream.flush()


_SUMMED = ("path", "label", "level", "error_code", "error")


def _end_of_lines(file: BinaryIO) -> int:
    """Return where the last whole line ends, in bytes from the start."""
    at = file.seek(0, os.SEEK_END)
    while at:
        start = max(0, at - 65_536)
        file.seek(start)
        newline = file.read(at - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        at = start
    return 0


def _safe(text: str) -> str:
    """Return the text so that no spreadsheet takes it for a formula (OWASP, CSV injection)."""
    text = printable(text)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _csv_line(cells: Sequence[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
