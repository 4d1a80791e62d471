"""Lists of pictures: a CSV or JSONL of path and label, perhaps of split and group."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NoReturn

from training.datasets.dataset import DatasetError, DatasetMissing
from training.datasets.listings import SPLIT_NAMES, Entry, Listing, file_stamp

SUFFIXES = (".csv", ".jsonl")
_NEEDED = ("path", "label")
_LONGEST = 20_000  # characters of a line
_SEPARATORS = ",;\t"  # where a comma is the decimal sign, spreadsheets write semicolons

Row = Mapping[str, object]


def read(path: Path, column: str = "") -> Listing:
    """List the pictures in a table; `column` names the one that groups, "" the one called group.

    Paths are absolute or relative to the table's folder, and stay inside it. Where any row names
    a split, every row has to.

    Raises:
        DatasetError: the table cannot be read, or a line of it is wrong; the line is named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(_csv(path, file) if path.suffix.lower() == ".csv" else _jsonl(path, file))
    except FileNotFoundError as error:
        raise DatasetMissing(f"There is no {path}.") from error
    except OSError as error:
        raise DatasetError(f"{path} may not be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not a text in UTF-8: {error.reason}.") from error
    if not rows:
        raise DatasetError(f"{path} lists no picture.")
    if column and not any(column in row for _, row in rows):
        raise DatasetError(
            f"Expected --group-by to name a column of {path} ({', '.join(rows[0][1])}) or to be a "
            f"pattern with one group in parentheses. Received: {column}"
        )
    entries = tuple(_entry(path, line, row, column or "group") for line, row in rows)
    _check_there(path, rows, entries)
    _check_splits(path, rows, entries)
    return Listing(path.stem, entries)


def columns(path: Path) -> tuple[str, ...]:
    """Return the names in the first line of a table; none where there is no such file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline(_LONGEST)
    except (OSError, UnicodeDecodeError):
        return ()
    if path.suffix.lower() == ".csv":
        return tuple(next(csv.reader([line], delimiter=_separator(line)), ()))
    try:
        first = json.loads(line)
    except ValueError:
        return ()
    return tuple(first) if isinstance(first, dict) else ()


def _wrong(path: Path, line: int, sentence: str) -> NoReturn:
    raise DatasetError(f"{path}, line {line}: {sentence}")


def _separator(header: str) -> str:
    """Return what stands between columns: a comma unless another gives those that are needed."""
    with contextlib.suppress(csv.Error):  # whoever reads on says what is wrong
        for separator in _SEPARATORS:
            if {*_NEEDED} <= {*next(csv.reader([header], delimiter=separator), ())}:
                return separator
    return ","


def _csv(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, Row]]:
    header = next(lines, "")
    reader = csv.DictReader(
        itertools.chain([header], lines), delimiter=_separator(header[:_LONGEST]), strict=True
    )
    try:
        names = reader.fieldnames or ()
        if missing := [name for name in _NEEDED if name not in names]:
            found = ", ".join(names)[:200] or "nothing"
            _wrong(
                path,
                1,
                f"expected a header with {' and '.join(missing)}, separated by commas, semicolons "
                f"or tabs. Received: {found}",
            )
        for row in reader:
            if None in row or None in row.values():
                _wrong(path, reader.line_num, f"expected {len(names)} columns as in the header.")
            yield reader.line_num, row
    except csv.Error as error:
        _wrong(path, reader.line_num, f"it is not CSV: {error}.")


def _jsonl(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            _wrong(path, number, f"it is not JSON: {error}.")
        if not isinstance(row, dict):
            _wrong(path, number, "expected an object with path and label.")
        yield number, row


def _entry(table: Path, line: int, row: Row, column: str) -> Entry:
    name = _text(table, line, row, "path").replace("\\", "/")
    pure = _inside(table, PurePosixPath(name))
    if pure is None:
        _wrong(
            table,
            line,
            f"expected a path inside the folder of {table.name}. Received: {name}. Move the list "
            "into a folder that holds all its pictures.",
        )
    file = table.parent / pure
    is_there = file.is_file()
    return Entry(
        name=str(pure),
        label=_text(table, line, row, "label"),
        size=file.stat().st_size if is_there else 0,
        stamp=f"{file.resolve()}|{file_stamp(file)}" if is_there else "",
        read=file.read_bytes,
        split=_split(table, line, row),
        group=_optional(table, line, row, column),
        short=str(pure),
    )


def _check_there(table: Path, rows: list[tuple[int, Row]], entries: tuple[Entry, ...]) -> None:
    missing = [
        (line, entry.name)
        for (line, _), entry in zip(rows, entries, strict=True)
        if not entry.stamp
    ]
    if missing:
        (line, name), others = missing[0], len(missing) - 1
        more = f" Nor are {others:,} more of its pictures there." if others else ""
        _wrong(table, line, f"there is no {name} in {table.parent}.{more}")


def _inside(table: Path, path: PurePosixPath) -> PurePosixPath | None:
    """Return a row's path as seen from the table's folder; None for one that is not in it."""
    if path.is_absolute():
        # As it was typed, and where links lead to.
        for folder in (os.path.abspath(table.parent), table.parent.resolve()):
            if path.is_relative_to(PurePosixPath(Path(folder).as_posix())):
                path = path.relative_to(PurePosixPath(Path(folder).as_posix()))
                break
    return None if path.is_absolute() or ".." in path.parts else path


def _text(table: Path, line: int, row: Row, name: str) -> str:
    value = _optional(table, line, row, name)
    if not value:
        _wrong(table, line, f"it has no {name}.")
    return value


def _optional(table: Path, line: int, row: Row, name: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        _wrong(table, line, f"expected {name} to be a text. Received: {str(value)[:100]}")
    return str(value).strip()


def _split(table: Path, line: int, row: Row) -> str:
    value = _optional(table, line, row, "split").lower()
    if value and value not in SPLIT_NAMES:
        _wrong(table, line, f"expected split to be train, validation or test. Received: {value}")
    return SPLIT_NAMES.get(value, "")


def _check_splits(table: Path, rows: list[tuple[int, Row]], entries: tuple[Entry, ...]) -> None:
    if not any(entry.split for entry in entries):
        return
    for (line, _), entry in zip(rows, entries, strict=True):
        if not entry.split:
            _wrong(table, line, "it has no split, and other lines have one: fill in all or none.")
    if not any(entry.split == "train" for entry in entries):
        raise DatasetError(f"No line of {table} is in the train split.")
