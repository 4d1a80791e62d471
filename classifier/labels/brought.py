"""Labels that somebody brings: a CSV, or what Label Studio exports. Read row by row, bounded.

What is wrong with one row stands in that row. Only a file that is none of the kind is refused.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any
from uuid import UUID

from classifier.labels import cells

LONGEST_LINE = 1_000_000  # characters, of a line or of a task
LARGEST_CELL = 131_072
MOST_ROWS = 500_000
LONGEST_TEXT = 300  # of a label or a name: no label, no file name here is longer
_CHUNK = 65_536
_SURROGATE = re.compile("[\ud800-\udfff]")
_UPLOAD = re.compile(r"/uploads/([0-9a-f-]{36})/picture")
# Label Studio puts eight hexadecimal digits before the name of a file that was uploaded to it.
_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")
_NONE = frozenset({"none of these", "none-of-these", "none_of_these"})
_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"", "false", "0", "no"})

# By which names a column is known, the most telling first.
_IDS = {
    "prediction": ("prediction_id", "prediction"),
    "upload": ("upload_id", "upload"),
    "sha256": ("sha256", "sha_256", "sha-256"),
    "file_name": ("file_name", "filename", "file", "path", "name"),
    "image": ("image", "picture"),
    "model": ("model",),
}
_LABELS = ("correction", "corrected_label", "corrected", "choice", "label", "class")
_NONE_COLUMN = "none_of_these"


class NotReadable(Exception):
    """The file is none that labels can be taken from; `str()` is a sentence for a person."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a file: which picture it is about, and what it says of it.

    Attributes:
        number: of its first line, from 1; of a Label Studio file, the number of the task.
        label: a key or a display name; "" where it says nothing, or none of these.
        none: it says that the picture shows none of the labels. `label` has the words if these
            may be a label's own name.
        problem: why nothing can be taken from it, in a sentence; "" for a good one.
    """

    number: int
    prediction: UUID | None = None
    upload: UUID | None = None
    sha256: str = ""
    file_name: str = ""
    model: str = ""
    label: str = ""
    none: bool = False
    problem: str = ""

    @property
    def shown(self) -> str:
        """What a person may know the picture by."""
        return self.file_name or str(self.prediction or self.upload or self.sha256[:16])


def lines(file: IO[bytes]) -> Iterator[Line]:
    """Yield the rows of a CSV or of a Label Studio export, whichever it is.

    Raises NotReadable for another kind of file, and for more than MOST_ROWS rows.
    """
    rows = _tasks(file) if is_json(file) else _csv_lines(file)
    for count, line in enumerate(rows, 1):
        if count > MOST_ROWS:
            raise NotReadable(f"Expected at most {MOST_ROWS:,} rows. Received: more. Divide it.")
        yield line


def is_json(file: IO[bytes]) -> bool:
    """Whether it is an array of JSON; else it is taken for a CSV. Raises NotReadable."""
    start = file.read(_CHUNK)
    file.seek(0)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in start.partition(b"\n")[0]:
        raise NotReadable("The file is not UTF-8 text. From Excel, save it as “CSV UTF-8”.")
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise NotReadable("The file is empty.")
    if start.startswith(b"PK\x03\x04"):
        raise NotReadable("This is a zip. Unpack it, and bring the labels.csv that is in it.")
    if start.startswith(b"{"):
        raise NotReadable(
            "Expected a CSV, or a JSON array of tasks as Label Studio exports it. Received: a JSON "
            "object"
        )
    return start.startswith(b"[")


# -- CSV ------------------------------------------------------------------------------------------


def _csv_lines(file: IO[bytes]) -> Iterator[Line]:
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _rows(text)
    finally:
        text.detach()


def _rows(text: IO[str]) -> Iterator[Line]:
    first = _bounded(text)
    header, separator = _header(next(first, ""))
    columns = _Columns.of(header)
    rows = csv.reader(first, delimiter=separator)
    csv.field_size_limit(LARGEST_CELL)
    while True:
        number = rows.line_num + 2  # the header is line 1
        try:
            row = next(rows, None)
        except csv.Error:
            yield Line(number, problem="A cell is too long: is a quotation mark not closed?")
            continue
        if row is None:
            return
        if any(cell.strip() for cell in row):
            yield columns.line(number, row)


def _bounded(text: IO[str]) -> Iterator[str]:
    while line := text.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise NotReadable(f"Expected lines of less than {LONGEST_LINE:,} characters.")
        yield line


def _header(line: str) -> tuple[list[str], str]:
    """Return the columns' names, and what separates them: in some countries Excel's semicolon."""
    separator = max(",;\t", key=line.count)
    cells = next(csv.reader([line.strip("\r\n")], delimiter=separator), [])
    return [re.sub(r"[\s-]+", "_", cell.strip().lower()) for cell in cells], separator


@dataclass(frozen=True)
class _Columns:
    """Where in a row stands what."""

    ids: Mapping[str, int]
    label: int
    none: int | None

    @classmethod
    def of(cls, header: Sequence[str]) -> _Columns:
        ids = {
            name: header.index(known)
            for name, names in _IDS.items()
            if (known := next((each for each in names if each in header), None))
        }
        label = next((name for name in _LABELS if name in header), None)
        if label is None or not ids.keys() - {"model"}:
            raise NotReadable(
                "Expected a first line with the names of the columns: one of prediction_id, "
                "upload_id, sha256 or file_name, and correction or label. Received: "
                f"{_printable(', '.join(header))[:200] or 'nothing'}"
            )
        none = header.index(_NONE_COLUMN) if _NONE_COLUMN in header else None
        return cls(ids, header.index(label), none)

    def line(self, number: int, row: Sequence[str]) -> Line:
        def cell(at: int | None) -> str:
            text = row[at] if at is not None and at < len(row) else ""
            return cells.unguarded(text).strip()

        if any(_SURROGATE.search(text) for text in row):
            return Line(number, problem="It is not UTF-8 text.")
        said = {name: cell(at) for name, at in self.ids.items()}
        return _line(number, said, cell(self.label), cell(self.none))


def _line(number: int, said: Mapping[str, str], label: str, none: str = "") -> Line:
    """Return the line that these texts make; with a problem where they make none."""
    name, model = _name(said), said.get("model", "")
    if "\x00" in "".join((*said.values(), label)):
        return Line(number, problem="It holds a character of no text (U+0000).")
    if none.lower() not in _TRUE | _FALSE:
        sentence = f"Expected true or false for {_NONE_COLUMN}. Received: {none!r:.100}"
        return Line(number, file_name=name, problem=sentence)
    if too_long := next((text for text in (name, model, label) if len(text) > LONGEST_TEXT), None):
        return Line(number, problem=f"Nothing here has a name that long: {too_long[:60]!r}…")
    try:
        prediction, upload = _uuid(said.get("prediction", "")), _uuid(_upload(said))
    except ValueError as error:
        return Line(number, file_name=name, problem=str(error))
    is_none = none.lower() in _TRUE
    return Line(
        number,
        prediction,
        upload,
        said.get("sha256", "").lower(),
        name,
        model,
        label="" if is_none else label,
        none=is_none or label.lower() in _NONE,
    )


def _upload(said: Mapping[str, str]) -> str:
    """Return the upload's id, which the address of its picture has too."""
    address = _UPLOAD.search(said.get("image", ""))
    return said.get("upload", "") or (address[1] if address else "")


def _name(said: Mapping[str, str]) -> str:
    if name := said.get("file_name", ""):
        return PurePosixPath(name.replace("\\", "/")).name
    return _PREFIX.sub("", PurePosixPath(said.get("image", "").partition("?")[0]).name)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise ValueError(
            f"Expected an id, as an export has them. Received: {text!r:.100}"
        ) from error


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


# -- Label Studio ---------------------------------------------------------------------------------


def _tasks(file: IO[bytes]) -> Iterator[Line]:
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        for number, task in enumerate(_objects(text), 1):
            yield _task(number, task)
    finally:
        text.detach()


def _objects(text: IO[str]) -> Iterator[Any]:
    """Yield the elements of a JSON array, no more of it in memory than one and a little.

    Raises NotReadable where it is no JSON any more: what comes before that was yielded.
    """
    decoder, buffer, count = json.JSONDecoder(), text.read(_CHUNK).lstrip().removeprefix("["), 0
    while True:
        buffer = buffer.lstrip()
        if count and buffer[:1] == ",":
            buffer = buffer[1:].lstrip()
        if buffer[:1] == "]":
            return
        try:
            element, end = decoder.raw_decode(buffer)
        except (json.JSONDecodeError, RecursionError) as error:
            chunk = text.read(max(_CHUNK, len(buffer)))
            if not chunk or len(buffer) > LONGEST_LINE:
                raise NotReadable(f"After task {count:,} the file is no JSON any more.") from error
            buffer += chunk
            continue
        count += 1
        yield element
        buffer = buffer[end:]


def _task(number: int, task: Any) -> Line:
    if not isinstance(task, dict):
        return Line(number, problem="It is no task: expected an object.")
    # The format JSON_MIN has the fields of `data` and the label side by side.
    is_full = isinstance(data := task.get("data"), dict)
    held: dict[str, Any] = data if isinstance(data, dict) else task
    fields = {key: value for key, value in held.items() if isinstance(value, str)}
    said = _identified(fields, task)
    if any(_SURROGATE.search(str(value)) for value in said.values()):
        return Line(number, problem="It is not UTF-8 text.")
    try:
        label = _annotated(task) if is_full else str(task.get("choice") or "")
    except ValueError as error:
        return Line(number, file_name=_name(said)[:LONGEST_TEXT], problem=str(error))
    return _line(number, said, label.strip())


def _identified(fields: Mapping[str, str], task: Mapping[str, Any]) -> dict[str, str]:
    said = {
        name: next((fields[each] for each in names if fields.get(each)), "")
        for name, names in _IDS.items()
    }
    if isinstance(uploaded := task.get("file_upload"), str):
        said["image"] = said["image"] if _UPLOAD.search(said["image"]) else uploaded
    return said


def _annotated(task: Mapping[str, Any]) -> str:
    """Return the label of the latest annotation, "" where there is none.

    Raises ValueError, with a sentence, where it has several labels or is none of the kind.
    """
    annotations = task.get("annotations") or []
    if not isinstance(annotations, list):
        raise ValueError("Expected a list of annotations.")
    counted = [
        each for each in annotations if isinstance(each, dict) and not each.get("was_cancelled")
    ]
    if not counted:
        return ""
    latest = max(counted, key=_when)
    choices = [choice for result in _list(latest.get("result")) for choice in _choices(result)]
    if len(choices) > 1:
        raise ValueError(f"Expected one label. Received: {', '.join(map(str, choices))[:200]}")
    return str(choices[0]) if choices else ""


def _when(annotation: Mapping[str, Any]) -> str:
    return str(annotation.get("updated_at") or annotation.get("created_at") or "")


def _choices(result: object) -> list[Any]:
    if not isinstance(result, dict) or result.get("type") != "choices":
        return []
    value = result.get("value")
    return _list(value.get("choices")) if isinstance(value, dict) else []


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
