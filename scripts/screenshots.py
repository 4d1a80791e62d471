"""Takes pictures of every page, light, dark and on a phone: `make screenshots`.

An installation of its own is made in a temporary folder, with the models that ship and the sample
pictures; a real web server answers, headless Chromium looks. What the README and the tutorial show
is taken by this command; --all takes every page, for whoever changes one and wants to look.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402
from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402

from benchmarks import servers  # noqa: E402
from classifyme.tests.browser import FLAGS, NAMES  # noqa: E402

IMAGES = ROOT / "docs" / "images"
SAMPLES = ROOT / "static" / "img" / "samples"
PERSON, PASSWORD = "ada", "an-engine-of-1843"
START_SECONDS = 60
DESK, PHONE = (1280, 860), (390, 844)
# What the documents show, by the name of its file.
SHOWN = ("cards", "history-dark", "review", "admin", "why")


@dataclass(frozen=True)
class Look:
    """One picture to take: of which page, in which window."""

    name: str
    path: str
    dark: bool = False
    phone: bool = False


def looks(prediction: str, version: str, previous: str) -> Iterator[Look]:
    """Yield every page three times: light, dark, on a phone."""
    pages = {
        "front": "/",
        "history": "/history/",
        "table": "/history/?view=table",
        "prediction": f"/predictions/{prediction}/",
        "review": "/review/",
        "labels": "/labels/",
        "live": "/live/",
        "admin": "/admin/",
        "versions": "/admin/classifier/modelversion/",
        "version": f"/admin/classifier/modelversion/{version}/change/",
        "activate": f"/admin/classifier/modelversion/{previous}/activate/",
        "runs": "/admin/training/trainingrun/",
        "snapshot": "/admin/training/datasetsnapshot/add/",
        "train": "/admin/training/trainingrequest/add/",
    }
    for name, path in pages.items():
        yield Look(name, path)
        yield Look(f"{name}-dark", path, dark=True)
        yield Look(f"{name}-phone", path, phone=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every page, not those of the documents")
    parser.add_argument("--only", default="", help="names to take, separated by commas")
    parser.add_argument("--out", type=Path, default=IMAGES, help="the folder they go to")
    options = parser.parse_args()
    wanted = tuple(filter(None, options.only.split(","))) or (() if options.all else SHOWN)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, installation(Path(folder)) as url:
        take(url, options.out, wanted)


@contextmanager
def installation(folder: Path) -> Iterator[str]:
    """Run ClassifyMe from an empty folder; yield its address."""
    os.environ |= {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    servers.manage(folder, "prepare")
    surroundings = os.environ | servers.classifyme(folder)
    account = ["--noinput", "--username", PERSON, "--email", "ada@example.org"]
    subprocess.run(
        [sys.executable, "manage.py", "createsuperuser", *account],
        cwd=ROOT,
        env=surroundings,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with servers.serve_classifyme(folder) as server:
        wait_for(server.port)
        yield f"http://127.0.0.1:{server.port}"


def wait_for(port: int) -> None:
    """Return once the web server is ready; exit where it never is."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    sys.exit("The web server does not come up.")


def take(url: str, out: Path, wanted: Sequence[str]) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        page = window(browser, Look("", ""))
        sign_in(page, url)
        prediction = classify_samples(page, url)
        state = page.context.storage_state()
        if not wanted or "cards" in wanted:
            # Another window, which knows of no earlier answers; tall, as cards draw what is seen.
            cards = window(browser, Look("", ""), state)
            cards.set_viewport_size({"width": DESK[0], "height": 1_560})
            cards.goto(url)
            send(cards, samples(), 6_000)
            shoot(cards, out, "cards")
        if not wanted or "classify" in wanted:
            page.goto(url)
            send(page, samples()[:1], 2_500)
            shoot(page, out, "classify")
        if not wanted or "why" in wanted:
            page.goto(f"{url}/predictions/{prediction}/")
            page.get_by_text("Why?", exact=True).click()
            page.wait_for_timeout(1_500)
            shoot(page, out, "why")
        version, previous = versions(page, url)
        for look in looks(prediction, version, previous):
            if wanted and look.name not in wanted:
                continue
            page = window(browser, look, state)
            page.goto(url + look.path)
            page.wait_for_timeout(700)
            shoot(page, out, look.name)
            page.context.close()
        browser.close()


def chromium_path() -> str:
    """Return where the system's Chromium is; exits where there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    return path or sys.exit(f"No Chromium on PATH. Looked for: {', '.join(NAMES)}")


def window(browser: Browser, look: Look, state: object = None) -> Page:
    """Open a window of the size and the appearance that a look has."""
    width, height = PHONE if look.phone else DESK
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if look.dark else "light",
        storage_state=state,  # type: ignore[arg-type]
    )
    return context.new_page()


def sign_in(page: Page, url: str) -> None:
    page.goto(f"{url}/accounts/login/")
    page.get_by_label("User name").fill(PERSON)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{url}/")


def samples() -> list[Path]:
    """Return the pictures that ship for people to try."""
    return sorted(path for path in SAMPLES.rglob("*") if path.suffix in {".jpg", ".png", ".webp"})


def send(page: Page, pictures: Sequence[Path], milliseconds: int) -> None:
    """Choose pictures on the front page and give them time to be answered."""
    page.locator("input[type=file]").first.set_input_files(pictures)
    page.wait_for_timeout(milliseconds)


def classify_samples(page: Page, url: str) -> str:
    """Send the sample pictures; return the id of one of the answers."""
    page.goto(url)
    send(page, samples(), 5_000)
    page.goto(f"{url}/history/")
    address = page.locator("a[href^='/predictions/']").first.get_attribute("href") or ""
    return address.strip("/").split("/")[1]


def versions(page: Page, url: str) -> tuple[str, str]:
    """Return the ids of the two newest versions that the admin lists."""
    page.goto(f"{url}/admin/classifier/modelversion/")
    links = page.locator("th.field-version a")
    found = [links.nth(at).get_attribute("href") or "" for at in range(links.count())]
    ids = [address.strip("/").split("/")[-2] for address in found]
    return ids[0], ids[1]


def shoot(page: Page, out: Path, name: str) -> None:
    whole = not name.endswith("-phone") and name != "classify"
    taken = Image.open(io.BytesIO(page.screenshot(full_page=whole)))
    taken.convert("RGB").save(out / f"{name}.webp", quality=88, method=6)
    print(out / f"{name}.webp")


if __name__ == "__main__":
    main()
