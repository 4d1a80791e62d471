"""Cells of a CSV that no spreadsheet takes for a formula, and the way back.

A cell that begins like a formula gets an apostrophe in front, as OWASP's page on CSV injection
advises. So does one that has apostrophes in front already: taking one away gives back every cell
as it was.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

# = + - @, tab and the ends of lines, in full-width forms too, perhaps behind apostrophes of ours.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def guarded(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """Return the cell that `guarded` made this of; any other as it is."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def line(cells: Sequence[str | int | float | None]) -> str:
    """Return a line of a CSV. Text stands in quotation marks, whatever separates the cells there.

    Where a spreadsheet expects semicolons, one within a text would begin a cell of its own else.
    """
    out = io.StringIO()
    safe = [guarded(cell) if isinstance(cell, str) else cell for cell in cells]
    csv.writer(out, lineterminator="\r\n", quoting=csv.QUOTE_NONNUMERIC).writerow(safe)
    return out.getvalue()
