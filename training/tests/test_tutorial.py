"""docs/tutorial.md, followed in headless Chromium from the first picture to the last button."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect
from pytest_django.live_server_helper import LiveServer

from classifier import registry, serving
from classifier.models import Correction, ModelVersion, RegisteredModel
from classifier.tests.bundles import COLOURS, make_bundle, picture
from classifier.tests.signing_in import sign_in
from training.models import DatasetSnapshot, TrainingRequest, TrainingRun
from training.tests.workers import PATIENCE_SECONDS, training_worker

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

TUTORIAL = Path(settings.BASE_DIR, "docs", "tutorial.md").read_text("utf-8")
PICTURES = 30


@pytest.fixture
def site(live_server: LiveServer, page: Page, tmp_path: Path) -> Iterator[str]:
    """A ClassifyMe whose model tells colours apart and can say why; an administrator is at it."""
    serving.forget()
    cache.clear()
    registry.register(make_bundle(tmp_path / "colours", explains=True).root, activate=True)
    RegisteredModel.objects.update(is_default=True)
    sign_in(page.context, live_server.url, User.objects.create_superuser("ada"))
    yield str(live_server.url)
    serving.forget()


def told(words: str) -> str:
    """Return words that stand in the tutorial in bold: what is renamed is renamed there too."""
    assert f"**{words}**" in TUTORIAL, f"The tutorial does not say **{words}**."
    return words


def thirty_pictures() -> list[FilePayload]:
    """Return noisy pictures of three colours: plain ones would be near duplicates of each other."""
    rng = np.random.default_rng(0)
    return [
        FilePayload(name=f"{number}.png", mimeType="image/png", buffer=noisy(number, rng))
        for number in range(PICTURES)
    ]


def noisy(number: int, rng: np.random.Generator) -> bytes:
    with Image.open(io.BytesIO(picture(COLOURS[number % len(COLOURS)]))) as plain:
        pixels = np.asarray(plain) + rng.normal(0, 40, (plain.height, plain.width, 3))
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_tutorial_does_what_it_says(page: Page, site: str, tmp_path: Path) -> None:
    classify(page, site)
    correct_and_review(page, site)
    freeze(page, site)
    train(page, tmp_path / "log")
    compare_and_activate(page)
    roll_back(page, site)
    export_and_import(page, site)


def classify(page: Page, site: str) -> None:
    page.goto(site)
    page.locator("input[type=file]").first.set_input_files(thirty_pictures())
    expect(page.locator("#cards .card-item[data-state=answered]")).to_have_count(PICTURES)
    answer = page.get_by_role("region", name="Answer")
    expect(answer.locator(".verdict-label")).to_have_text(re.compile("Red|Green|Blue"))
    answer.get_by_text(told("Why?")).click()
    expect(answer.locator(".why-map")).not_to_have_js_property("naturalWidth", 0)


def correct_and_review(page: Page, site: str) -> None:
    answer = page.get_by_role("region", name="Answer")
    said = (answer.locator(".verdict-label").text_content() or "").strip()
    answer.get_by_text(told("No, it shows…")).click()
    answer.get_by_role("button", name="Green" if said != "Green" else "Red", exact=True).click()
    expect(answer.locator(".correct-said")).to_contain_text("It shows")
    answer.get_by_role("button", name="Take back").click()
    expect(answer.get_by_role("button", name=told("Right"), exact=True)).to_be_visible()

    page.get_by_role("link", name=told("Review")).click()
    expect(page.locator("#review-left")).to_have_text(str(PICTURES))
    # Keys act once the script is there, which brings the next pictures.
    expect(page.locator(".review-card").nth(1)).to_be_attached()
    card = page.locator(".review-card").first
    for left in reversed(range(PICTURES)):
        shown = card.get_attribute("data-prediction") or ""
        page.keyboard.press(told("Enter"))
        if left:
            expect(card).not_to_have_attribute("data-prediction", shown)
    expect(page.locator("#review-done")).to_have_text(str(PICTURES))
    for _ in range(200):
        if Correction.objects.standing().count() == PICTURES:
            break
        page.wait_for_timeout(50)
    assert Correction.objects.standing().count() == PICTURES


def freeze(page: Page, site: str) -> None:
    page.goto(f"{site}/history/")
    page.get_by_role("link", name=told("Export or import labels")).click()
    page.get_by_role("link", name=told("Make a dataset snapshot")).click()
    page.get_by_label("Name").fill("june")
    page.get_by_role("button", name=told(f"Freeze {PICTURES} pictures")).click()
    expect(page.get_by_text(f"The snapshot june holds {PICTURES} pictures.")).to_be_visible()
    assert DatasetSnapshot.objects.get().size == PICTURES


def train(page: Page, log: Path) -> None:
    page.get_by_role("link", name=told("Train on it")).click()
    page.get_by_role("link", name="CIFAR-10, baseline").click()
    expect(page.get_by_label("Data", exact=True)).to_have_value("snapshot:june")
    page.get_by_label(told("Smoke run")).check()
    page.get_by_label("Epochs", exact=True).fill("0")
    page.get_by_role("button", name=told("Start training")).click()
    expect(page.get_by_text("Expected epochs above 0. Received: 0")).to_be_visible()
    page.get_by_label("Epochs", exact=True).fill("4")
    page.get_by_label("Batch size").fill("8")
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_text("No training worker is alive")).to_be_visible()

    # The page follows by itself, from the request to the run and to its end.
    page.set_default_timeout(PATIENCE_SECONDS * 1_000)
    expect.set_options(timeout=PATIENCE_SECONDS * 1_000)
    try:
        with training_worker(log):
            expect(page.locator("#log")).to_contain_text("4 epochs of")
            expect(page.locator("#live")).to_contain_text(re.compile("Epoch [1-4] of 4|Exporting"))
            expect(page.locator("h1")).to_contain_text("finished")
    finally:
        expect.set_options(timeout=5_000)
        page.set_default_timeout(15_000)
    expect(page.locator("svg.cm-chart")).to_have_count(2)
    check_trained()


def check_trained() -> None:
    """What the page says stands in the rows too."""
    done = TrainingRequest.objects.select_related("run").get()
    assert (done.state, done.reason) == ("finished", "")
    assert (done.slot, done.holder) == (None, "")
    version = ModelVersion.objects.get(number=2)
    assert version.registered_by == User.objects.get(username="ada")
    assert f"Registered as {version}." in done.log
    assert "test accuracy" in done.log
    run = TrainingRun.objects.get()
    assert (done.run, run.version, run.state) == (run, version, "finished")
    assert (run.dataset_name, len(run.history)) == ("snapshot:june", 4)


def compare_and_activate(page: Page) -> None:
    run = page.url
    page.get_by_role("link", name=told("Compare with the active one")).click()
    expect(page.locator("h1")).to_contain_text("v2")
    expect(page.get_by_role("heading", name="On pictures of your own")).to_be_visible()

    page.goto(run)
    page.get_by_role("link", name=told("Activate it…")).click()
    page.get_by_label("Reason").fill("a trial")
    override = page.get_by_label(told("Override the gate"))
    if override.count():
        override.check()
    page.get_by_role("button", name="Activate v2").click()
    expect(page.get_by_text("Colours v2 is active")).to_be_visible()


def roll_back(page: Page, site: str) -> None:
    page.goto(f"{site}/admin/")
    model = page.get_by_role("article", name="Colours")
    model.get_by_text(told("Roll back to v1")).first.click()
    model.get_by_label("Why").fill("thirty pictures are too few")
    model.get_by_role("button", name="Roll back to v1").click()
    expect(page.get_by_text("Colours v1 is active")).to_be_visible()
    assert ModelVersion.objects.get(number=1).is_active


def export_and_import(page: Page, site: str) -> None:
    page.goto(f"{site}/labels/")
    with page.expect_download() as download:
        page.get_by_role("button", name=told("Export"), exact=True).click()
    content = download.value.path().read_bytes()
    assert content.count(b"\n") == PICTURES + 1
    brought = FilePayload(name="labels.csv", mimeType="text/csv", buffer=content)
    page.get_by_label("File", exact=True).set_input_files(brought)
    page.get_by_role("button", name=told("Look through it")).click()
    tally = page.locator(".tally").first
    expect(tally).to_contain_text(re.compile(rf"the same already\s*{PICTURES}"))
    expect(tally).to_contain_text(re.compile(r"would change\s*0"))
