"""The measured figures as the tables and the plot of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

BEGIN = "<!-- What follows is written by `make bench`. -->"
END = "<!-- End of what `make bench` writes. -->"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, all others are numbers."""
    ruler = ["---", *["---:"] * (len(header) - 1)]
    lines = [header, ruler, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def put(page: Path, written: str) -> None:
    """Replace what stands between the two marks of a page; raises ValueError without them."""
    text = page.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"Expected both marks of `make bench` in {page.name}. Received: not both")
    page.write_text(f"{before}{BEGIN}\n\n{written.strip()}\n\n{END}{after}", "utf-8")


def bars(path: Path, title: str, rows: Sequence[tuple[str, float]], unit: str) -> None:
    """Draw one bar for each row into an SVG file, the longest on top."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "classifyme"
    from matplotlib import pyplot

    ordered = sorted(rows, key=lambda row: row[1])
    figure, axes = pyplot.subplots(figsize=(8, 0.6 + 0.45 * len(rows)))
    colours = ["#4f46e5" if name == "ClassifyMe" else "#94a3b8" for name, _ in ordered]
    drawn = axes.barh([name for name, _ in ordered], [v for _, v in ordered], color=colours)
    axes.bar_label(drawn, fmt="%.0f", padding=4)
    axes.set_title(title, loc="left")
    axes.set_xlabel(unit)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.1)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
