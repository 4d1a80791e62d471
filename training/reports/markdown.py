"""As much Markdown as our model cards use, as HTML: headings, paragraphs, lists, tables, code."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_INLINE = (
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
    (re.compile(r"\*\*([^*]+)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"(?<![*\w])\*([^*\s][^*]*)\*(?![*\w])"), r"<em>\1</em>"),
)
_RULE = re.compile(r"\|[\s:|-]+\|?\Z")


def to_html(text: str, top: int = 2) -> str:
    """Return HTML for Markdown; `#` becomes a heading of the level `top`, all else is escaped."""
    blocks = re.split(r"\n\s*\n", text.strip())
    return "\n".join(part for block in blocks for part in _block(block.splitlines(), top))


def _block(lines: list[str], top: int) -> Iterator[str]:
    while lines and (heading := re.match(r"(#{1,5}) +(.*)", lines[0])):
        level = min(6, len(heading[1]) - 1 + top)
        yield f"<h{level}>{_inline(heading[2])}</h{level}>"
        lines = lines[1:]
    if not lines:
        return
    if all(line.startswith("|") for line in lines):
        yield _table(lines)
    elif lines[0].startswith("- "):
        items = re.split(r"(?:\A|\n)- ", "\n".join(lines))[1:]
        yield "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>"
    else:
        yield f"<p>{_inline(' '.join(lines))}</p>"


def _table(lines: list[str]) -> str:
    rows = [
        [_inline(cell.strip()) for cell in line.strip().strip("|").split("|")]
        for line in lines
        if not _RULE.match(line)
    ]
    head = "".join(f'<th scope="col">{cell}</th>' for cell in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows[1:]
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _inline(text: str) -> str:
    escaped = html.escape(text, quote=False)
    for pattern, replacement in _INLINE:
        escaped = pattern.sub(replacement, escaped)
    return escaped
