"""What was found of a data set as one HTML page that needs nothing else to be read."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from classifier import imaging
from training.datasets.dataset import Skipped
from training.datasets.dividing import Surveyed
from training.datasets.exploration import IMBALANCED, Findings, Spread
from training.datasets.scanning import UNREADABLE

_SIDE = 112  # pixels of a thumbnail
_SAMPLES, _MOST_SAMPLES = 12, 240  # of a class, and in all
_SETS, _IN_SET = 12, 6  # of near duplicates and conflicts that are shown as pictures
_ROWS = 50  # of a list

_STYLE = """
:root { color-scheme: light dark; --ink: #212529; --soft: #6c757d; --page: #f8f9fa; --card: #fff;
  --line: #dee2e6; --bar: #0d6efd; --bad: #b02a37; --good: #146c43; }
@media (prefers-color-scheme: dark) { :root { --ink: #dee2e6; --soft: #9aa2aa; --page: #16181b;
  --card: #212529; --line: #3a4047; --bar: #6ea8fe; --bad: #ea868f; --good: #75b798; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .75rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .5rem; }
p { margin: .5rem 0; }
.soft { color: var(--soft); } .bad { color: var(--bad); } .good { color: var(--good); }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: 1.25rem; margin-top: 1rem; }
.figures { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(7.5rem, 1fr));
  margin-top: 1rem; }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .75rem 1rem; }
.figures b { display: block; font-size: 1.5rem; line-height: 1.3; }
.columns { display: grid; gap: 0 2.5rem;
  grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
tr:last-child td { border-bottom: 0; } th { font-weight: 600; color: var(--soft); }
td:first-child { min-width: 6rem; }
td.number, th.number { text-align: right; white-space: nowrap; overflow-wrap: normal; }
td.wide { width: 50%; } .bar { display: block; height: .8rem; margin-top: .35rem;
  min-width: 2px; border-radius: .2rem; background: var(--bar); }
.sheet { display: grid; gap: .4rem; grid-template-columns: repeat(auto-fill, minmax(72px, 1fr)); }
.sheet img { width: 100%; aspect-ratio: 1; object-fit: contain; border-radius: .25rem;
  background: var(--line); display: block; }
.set { display: grid; gap: .75rem; margin: .75rem 0;
  grid-template-columns: repeat(auto-fill, minmax(130px, 1fr)); }
figure { margin: 0; font-size: .8rem; overflow-wrap: anywhere; }
figure img { width: 112px; aspect-ratio: 1; object-fit: contain; border-radius: .25rem;
  background: var(--line); display: block; }
.notice { border-left: 4px solid var(--bad); padding: .25rem 0 .25rem .75rem; }
code { overflow-wrap: anywhere; }
"""


def page(findings: Findings, surveyed: Surveyed, *, command: str) -> str:
    """Return the page; it holds thumbnails of the pictures, so keep it where they may be."""
    pictures = _Pictures(surveyed)
    parts = [
        f"<h1>{escape(findings.name)}</h1>",
        f'<p class="soft">Data set explored with ClassifyMe: <code>{escape(command)}</code></p>',
        _figures(findings),
        _split(findings),
        _classes(findings),
        _shapes(findings),
        _trouble(findings, pictures),
        _groups(findings),
        _samples(findings, pictures),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(findings.name)} - data set</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


class _Pictures:
    """Thumbnails by name."""

    def __init__(self, surveyed: Surveyed) -> None:
        self.entries = {entry.name: entry for entry in surveyed.entries}
        self.by_label: dict[str, list[tuple[str, str]]] = {}
        for entry, picture in zip(surveyed.entries, surveyed.pictures, strict=True):
            if not picture.error:
                self.by_label.setdefault(entry.label, []).append((picture.sha256, entry.name))

    def sample(self, label: str, count: int) -> list[str]:
        """Return names by content: an order that has nothing to do with the file names."""
        return [name for _, name in sorted(self.by_label.get(label, []))[:count]]

    def image(self, name: str) -> str:
        """Return an img element, or "" for what cannot be read."""
        try:
            content = imaging.render(self.entries[name].read(), max_side=_SIDE)
        except (*UNREADABLE, imaging.ImageError):
            return ""
        encoded = base64.b64encode(content).decode()
        title = escape(name, quote=True)
        return f'<img src="data:image/jpeg;base64,{encoded}" alt="{title}" title="{title}">'


def _section(title: str, *content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(content)}</section>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    def cell(tag: str, at: int, text: str) -> str:
        kind = ' class="number"' if at in numbers else ""
        return f"<{tag}{kind}>{text}</{tag}>"

    lines = ["".join(cell("td", at, text) for at, text in enumerate(row)) for row in rows]
    titles = "".join(cell("th", at, escape(text)) for at, text in enumerate(head))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table><tr>{titles}</tr>{body}</table></div>'


def _figures(findings: Findings) -> str:
    figures = [
        (f"{findings.files:,}", "picture files"),
        (f"{len(findings.classes):,}", "classes"),
        (f"{findings.imbalance:.1f} : 1", "largest to smallest class"),
        (f"{len(findings.corrupt):,}", "cannot be read"),
        (f"{sum(len(each) - 1 for each in findings.copies):,}", "exact copies"),
        (f"{len(findings.near):,}", "near duplicates"),
        (f"{len(findings.conflicts):,}", "conflicting labels"),
    ]
    boxes = "".join(f"<div><b>{value}</b>{name}</div>" for value, name in figures)
    return f'<div class="figures">{boxes}</div>'


def _split(findings: Findings) -> str:
    notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in findings.notes)
    if findings.refusal:
        text = escape(findings.refusal)
        return _section("Split", f'<p class="notice">Training would refuse it. {text}</p>')
    if not findings.splits:
        return _section("Split", notes)
    keys = list(findings.classes)
    names = list(findings.splits)
    rows = [
        [escape(key), *(f"{findings.splits[split].get(key, 0):,}" for split in names)]
        for key in keys
    ]
    totals = [sum(findings.splits[split].values()) for split in names]
    every = max(1, sum(totals))
    rows.append(["<b>all</b>", *(f"<b>{each:,}</b> ({each / every:.1%})" for each in totals)])
    numbers = range(1, len(names) + 1)
    digest = f'<p class="soft">Digest <code>{findings.digest}</code></p>'
    return _section("Split", _table(["class", *names], rows, numbers), notes, digest)


def _bars(title: str, counts: dict[str, int]) -> str:
    most, total = max(counts.values(), default=0), max(1, sum(counts.values()))
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="wide"><span class="bar" '
        f'style="width: {100 * count / max(1, most):.1f}%"></span></td>'
        f'<td class="number">{count:,}</td><td class="number">{count / total:.1%}</td></tr>'
        for name, count in counts.items()
    )
    heading = f"<h3>{escape(title)}</h3>" if title else ""
    return f'<div>{heading}<div class="scroll"><table>{rows}</table></div></div>'


def _classes(findings: Findings) -> str:
    advice = (
        f'<p class="notice">The largest class is {findings.imbalance:.1f} times the smallest: '
        "consider class weights, and look at the figures per class, not at accuracy alone.</p>"
        if findings.imbalance > IMBALANCED
        else ""
    )
    return _section("Classes", advice, _bars("", findings.classes))


def _shapes(findings: Findings) -> str:
    spreads = [
        ("width, pixels", findings.widths, 1.0),
        ("height, pixels", findings.heights, 1.0),
        ("file, kB", findings.bytes, 1000.0),
    ]
    rows = [_spread_row(name, spread, scale) for name, spread, scale in spreads if spread]
    table = _table(["", "least", "median", "most"], rows, (1, 2, 3))
    formats = _bars("Formats", findings.formats)
    aspects = _bars("Width to height", findings.aspects)
    return _section("Sizes and formats", table, f'<div class="columns">{formats}{aspects}</div>')


def _spread_row(name: str, spread: Spread, scale: float) -> list[str]:
    values = (spread.least, spread.median, spread.most)
    return [escape(name), *(f"{value / scale:,.0f}" for value in values)]


def _trouble(findings: Findings, pictures: _Pictures) -> str:
    parts = [
        _list("Cannot be read", findings.corrupt),
        _sets("Conflicting labels", "Left out of training.", findings.conflicts, pictures),
        _sets("Exact copies", "One of each set is used.", findings.copies, pictures),
        _sets(
            "Near duplicates",
            "They stay on one side of the split; look at them and delete what is no use.",
            findings.near,
            pictures,
        ),
        _list("In two given splits", [each for each in findings.left_out if each.kind == "leak"]),
        _list("Passed over", findings.ignored),
    ]
    found = "".join(parts) or '<p class="good">Nothing was found.</p>'
    return _section("Files to look at", found)


def _list(title: str, skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return ""
    rows = [[escape(each.name), escape(each.reason)] for each in skipped[:_ROWS]]
    table = _table(["file", "why"], rows)
    return f"<h3>{escape(title)} ({len(skipped):,})</h3>{table}{_rest(skipped, _ROWS)}"


def _rest(items: Sequence[object], shown: int) -> str:
    left = len(items) - shown
    return f'<p class="soft">... and {left:,} more; --json lists all.</p>' if left > 0 else ""


def _sets(title: str, advice: str, sets: Sequence[tuple[str, ...]], pictures: _Pictures) -> str:
    if not sets:
        return ""
    shown = "".join(_set(names, pictures) for names in sets[:_SETS])
    return (
        f'<h3>{escape(title)} ({len(sets):,})</h3><p class="soft">{escape(advice)}</p>'
        f"{shown}{_rest(sets, _SETS)}"
    )


def _set(names: tuple[str, ...], pictures: _Pictures) -> str:
    figures = "".join(
        f"<figure>{pictures.image(name)}<figcaption>{escape(name)}</figcaption></figure>"
        for name in names[:_IN_SET]
    )
    left = len(names) - _IN_SET
    more = f'<p class="soft">... and {left:,} more of this set</p>' if left > 0 else ""
    return f'<div class="set">{figures}{more}</div>'


def _groups(findings: Findings) -> str:
    if not findings.groups:
        return ""
    sizes = list(findings.groups.values())
    words = (
        f"{len(sizes):,} groups of {min(sizes):,} to {max(sizes):,} pictures; each stays on one "
        "side of the split."
    )
    first = dict(list(findings.groups.items())[:_ROWS])
    return _section("Groups", f"<p>{words}</p>", _bars("", first), _rest(sizes, _ROWS))


def _samples(findings: Findings, pictures: _Pictures) -> str:
    count = max(1, min(_SAMPLES, _MOST_SAMPLES // max(1, len(findings.classes))))
    sheets = [
        f'<h3>{escape(label)}</h3><div class="sheet">'
        f"{''.join(pictures.image(name) for name in pictures.sample(label, count))}</div>"
        for label in list(findings.classes)[:_MOST_SAMPLES]
    ]
    return _section("Samples", *sheets)
