"""Has Lighthouse judge the pages people see most: `make lighthouse`.

Needs Node.js (npx fetches Lighthouse) and Chromium. An installation of its own answers, with the
sample pictures classified; prints a table and exits 1 where a category is below 95 of 100.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from screenshots import chromium_path, classify_samples, installation, sign_in

# `screenshots` has put the project's folder on the path.
from benchmarks import servers
from classifyme.tests.browser import FLAGS

LIGHTHOUSE = "lighthouse@12"
PAGES = ("/", "/history/", "/review/")
WANTED = 95


def main() -> None:
    npx = shutil.which("npx")
    if npx is None:
        sys.exit("Lighthouse needs Node.js: https://nodejs.org/, or apt install nodejs npm")
    with (
        tempfile.TemporaryDirectory() as folder,
        installation(Path(folder)) as url,
        signed_in(url, Path(folder) / "profile") as port,
    ):
        found = {path: _judged(npx, url + path, port) for path in PAGES}
    print(*_table(found), sep="\n")
    sys.exit(any(score < WANTED for report in found.values() for score in scores(report).values()))


@contextmanager
def signed_in(url: str, profile: Path) -> Iterator[int]:
    """Run a browser in which somebody classified the samples; yield its debugging port."""
    port = servers.free_port()
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium_path(),
            args=[*FLAGS, f"--remote-debugging-port={port}"],
        )
        page = context.new_page()
        sign_in(page, url)
        classify_samples(page, url)
        page.close()
        yield port
        context.close()


def _judged(npx: str, url: str, port: int) -> dict[str, Any]:
    """Return Lighthouse's report on one page, as who is signed in sees it."""
    options = ["--quiet", "--output=json", f"--port={port}", "--disable-storage-reset"]
    ended = subprocess.run(
        [npx, "--yes", LIGHTHOUSE, url, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        sys.exit(f"Lighthouse failed on {url}: {ended.stderr.strip()[-2000:]}")
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


def scores(report: dict[str, Any]) -> dict[str, int]:
    """Return the categories of a report, each from 0 to 100."""
    return {
        category["title"]: round(100 * category["score"])
        for category in report["categories"].values()
    }


def _table(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    titles = list(scores(next(iter(found.values()))))
    yield f"{'':12}" + "".join(f"{title:>18}" for title in titles) + f"{'kB sent':>10}"
    for path, report in found.items():
        sent = report["audits"]["total-byte-weight"]["numericValue"] / 1000
        yield f"{path:12}" + "".join(f"{n:18}" for n in scores(report).values()) + f"{sent:10.0f}"
    for path, report in found.items():
        for audit in report["audits"].values():
            if audit["score"] is not None and audit["score"] < 0.9:
                yield f"{path} {audit['id']}: {audit['title']} {audit.get('displayValue', '')}"
                if audit["id"] == "errors-in-console":
                    yield from (f"    {item['description']}" for item in audit["details"]["items"])


if __name__ == "__main__":
    main()
