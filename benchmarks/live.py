"""The live camera: frames answered in a second, in headless Chromium with a film for its camera.

The server as `make run` starts it, all of its processes, has one core to itself; the browser has
the others. Frames are counted by the browser's own resource timing, not by the page's script.
"""

from __future__ import annotations

import io
import os
import shutil
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from benchmarks import pictures, report, servers
from benchmarks.load import NoLoad
from benchmarks.servers import Server

WIDTH, HEIGHT, FRAMES_A_SECOND = 640, 480, 30
FILM_FRAMES = 60
WARM_UP_SECONDS = 3.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
HEADER = (
    "model", "frames a second, median (spread)", "frame to answer, ms, p50", "p90", "a frame",
)  # fmt: skip
_FORGET = """() => {
    performance.setResourceTimingBufferSize(100_000);
    performance.clearResourceTimings();
    return performance.now();
}"""
# What the browser noted of the frames since it was last told to forget.
_TIMES = """() => performance.getEntriesByType("resource")
    .filter(({ name, responseStatus }) => name.includes("/live/frame/") && responseStatus === 200)
    .map(({ duration }) => duration)"""


@dataclass(frozen=True)
class Seen:
    """One stretch of time with the camera on."""

    rate: float  # frames answered a second
    milliseconds: list[float]  # from a frame sent to its answer
    size: str  # of the last frame, as the page says it


def compare(folder: Path, *, rounds: int, seconds: float) -> str:
    """Return a table of the models that ship, served by an installation made in `folder`.

    Raises NoLoad where there is no Chromium, or a second core for it.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise NoLoad(f"The live camera needs Chromium. Looked for: {', '.join(BROWSERS)}")
    servers.manage(folder, "prepare")
    film = folder / "film.y4m"
    folder.mkdir(parents=True, exist_ok=True)
    film.write_bytes(b"".join(frames()))
    rows = []
    with _halves() as (ours, the_servers), servers.serve_classifyme(folder) as server:
        body, media_type = pictures.multipart(pictures.small_png(), "small.png", "image/png")
        servers.first_answer(server, body, media_type)
        _confine(server, the_servers)
        os.sched_setaffinity(0, ours)
        with _page(browser, film) as page:
            for name in _models(page, server):
                seen = [watch(page, server, name, seconds=seconds) for _ in range(rounds)]
                rows.append(_row(name, seen))
    return report.table(HEADER, rows)


def frames() -> Iterator[bytes]:
    """Yield a film in YUV4MPEG2: a picture that moves on by some pixels with each frame."""
    yield f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FRAMES_A_SECOND}:1 Ip A1:1 C420jpeg\n".encode()
    content = pictures.picture(WIDTH, HEIGHT, "JPEG", quality=90)
    with Image.open(io.BytesIO(content)) as opened:
        pixels = np.asarray(opened.convert("YCbCr"))
    for number in range(FILM_FRAMES):
        moved = np.roll(pixels, 8 * number, axis=1)
        planes = (moved[:, :, 0], moved[::2, ::2, 1], moved[::2, ::2, 2])
        yield b"FRAME\n" + b"".join(plane.tobytes() for plane in planes)


def watch(page: Page, server: Server, model: str, *, seconds: float) -> Seen:
    """Turn the camera on for some seconds and count the frames that were answered."""
    page.goto(f"http://127.0.0.1:{server.port}/live/")
    page.select_option("#model", model)
    page.get_by_role("button", name="Start the camera").click()
    page.wait_for_timeout(WARM_UP_SECONDS * 1_000)
    began = page.evaluate(_FORGET)
    page.wait_for_timeout(seconds * 1_000)
    times, ended = page.evaluate(f"() => [({_TIMES})(), performance.now()]")
    size = page.locator("#live-size").inner_text()
    page.get_by_role("button", name="Stop").click()
    return Seen(1_000 * len(times) / (ended - began), times, size)


def _row(name: str, seen: list[Seen]) -> tuple[str, ...]:
    rates = sorted(each.rate for each in seen)
    times = [time for each in seen for time in each.milliseconds]
    return (
        name,
        f"{statistics.median(rates):.1f} ({rates[0]:.1f} to {rates[-1]:.1f})",
        f"{statistics.median(times):.0f}",
        f"{statistics.quantiles(times, n=10)[-1]:.0f}",
        seen[-1].size,
    )


def _models(page: Page, server: Server) -> list[str]:
    page.goto(f"http://127.0.0.1:{server.port}/live/")
    return [
        value
        for option in page.locator("#model option").all()
        if (value := option.get_attribute("value"))
    ]


@contextmanager
def _page(browser: str, film: Path) -> Iterator[Page]:
    flags = [
        "--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream", f"--use-file-for-fake-video-capture={film}",
    ]  # fmt: skip
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=flags)
        yield opened.new_page()
        opened.close()


@contextmanager
def _halves() -> Iterator[tuple[set[int], set[int]]]:
    """Give the cores of the browser and that of the server; put this process back in the end."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        raise NoLoad("The live camera needs a core for the server and another for the browser.")
    first = min(allowed)
    try:
        yield allowed - {first}, {first}
    finally:
        os.sched_setaffinity(0, allowed)


def _confine(server: Server, cores: set[int]) -> None:
    """Keep every process and thread of a server to some cores."""
    for path in Path("/proc").glob("[0-9]*"):
        pid = int(path.name)
        try:
            if os.getsid(pid) != server.process.pid:
                continue
            for thread in (path / "task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)
        except (FileNotFoundError, ProcessLookupError):
            continue
