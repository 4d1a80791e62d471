"""The live camera, acted out in a Chromium whose camera plays a film of ours."""

import time
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from classifier.models import ModelVersion, Prediction, Upload
from classifyme.tests.browser import Film

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

WIDTH, HEIGHT, RATE = 160, 120, 30
# Luma and the two chromas of BT.601: red, then blue.
SHADES = ((79, 104, 220), (78, 205, 87))
HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
# A phone has a camera on either side; it is noted which was asked for.
TWO_SIDES = """() => {
    const media = navigator.mediaDevices;
    const open = media.getUserMedia.bind(media);
    window.sides = [];
    media.getUserMedia = (wanted) => {
        window.sides.push(wanted.video.facingMode.ideal);
        return open(wanted);
    };
    media.enumerateDevices = async () => [{ kind: "videoinput" }, { kind: "videoinput" }];
}"""
# Somebody takes their time to allow the camera.
HESITATE = """() => {
    const media = navigator.mediaDevices;
    const open = media.getUserMedia.bind(media);
    media.getUserMedia = async (wanted) => {
        window.opened = await open(wanted);
        await new Promise((resolve) => { window.allow = resolve; });
        return window.opened;
    };
}"""
IS_OFF = "() => window.opened.getTracks().every(({ readyState }) => readyState === 'ended')"
REFUSE = """(name) => {
    navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("No.", name); };
}"""


@pytest.fixture
def red_and_blue(tmp_path: Path) -> Path:
    """A film: two seconds of red, two of blue."""
    path = tmp_path / "film.y4m"
    with path.open("wb") as film:
        film.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{RATE}:1 Ip A1:1 C420jpeg\n".encode())
        for shade in SHADES:
            sizes = (WIDTH * HEIGHT, WIDTH * HEIGHT // 4, WIDTH * HEIGHT // 4)
            planes = [
                np.full(size, value, np.uint8).tobytes()
                for size, value in zip(sizes, shade, strict=True)
            ]
            for _ in range(2 * RATE):
                film.write(b"FRAME\n" + b"".join(planes))
    return path


def number(page: Page, place: str) -> float:
    return float(page.locator(place).inner_text().split()[0])


def test_the_camera_is_answered_frame_by_frame_and_nothing_is_kept_but_what_is_asked(
    film: Film, live_server: LiveServer, colours: ModelVersion, red_and_blue: Path
) -> None:
    page = film(red_and_blue)
    page.goto(f"{live_server.url}/live/")
    expect(page.get_by_text("The camera is off.")).to_be_visible()
    page.get_by_role("button", name="Start the camera").click()
    label = page.locator("#live-label")
    for colour in ("Red", "Blue", "Red"):
        expect(label).to_have_text(colour, timeout=15_000)
    expect(page.locator("#live-words")).to_have_text("High confidence")
    expect(page.locator("#live-bars li")).to_have_count(3)
    # Ten and more on a quiet machine (docs/how-to/classify.md); tests share theirs.
    assert number(page, "#live-rate") > 2
    assert number(page, "#live-latency") > 0
    assert not Upload.objects.exists()

    page.get_by_role("button", name="Keep this frame").click()
    expect(page.locator("#toasts")).to_contain_text("Kept:")
    kept = Prediction.objects.select_related("upload").get()
    assert kept.upload.filename == "camera.jpg"
    page.get_by_role("button", name="Open its page").click()
    expect(page.locator(".facts")).to_contain_text("camera.jpg")


def test_the_camera_stops_when_the_page_is_hidden_and_comes_back(
    film: Film, live_server: LiveServer, colours: ModelVersion, red_and_blue: Path
) -> None:
    page = film(red_and_blue)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{live_server.url}/live/")
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#live-label")).not_to_be_empty()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.evaluate(HIDE, True)
    assert page.evaluate("document.getElementById('video').srcObject") is None
    frames: list[str] = []
    page.on("request", lambda request: frames.append(request.url))
    time.sleep(0.5)
    assert not frames
    page.evaluate(HIDE, False)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    with page.expect_request("**/live/frame/**"):
        pass
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("The camera is off.")).to_be_visible()


def test_the_camera_is_turned_round_and_is_off_while_nobody_looks(
    film: Film, live_server: LiveServer, colours: ModelVersion, red_and_blue: Path
) -> None:
    page = film(red_and_blue)
    page.goto(f"{live_server.url}/live/")
    page.evaluate(TWO_SIDES)
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_role("button", name="Turn the camera round").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.locator("#live-label")).not_to_be_empty()
    assert page.evaluate("window.sides") == ["environment", "user"]
    page.get_by_role("button", name="Stop").click()

    # Allowed when the page is hidden already: off again at once, and on when one comes back.
    page.evaluate(HESITATE)
    page.get_by_role("button", name="Start the camera").click()
    page.wait_for_function("() => Boolean(window.allow)")
    page.evaluate(HIDE, True)
    page.evaluate("window.allow()")
    page.wait_for_function(IS_OFF)
    expect(page.get_by_text("The camera is off.")).to_be_visible()
    page.evaluate("window.allow = null")
    page.evaluate(HIDE, False)
    page.wait_for_function("() => Boolean(window.allow)")
    page.evaluate("window.allow()")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("NotAllowedError", "not allowed for this page"),
        ("NotFoundError", "No camera was found"),
        ("NotReadableError", "another program may be using it"),
    ],
)
def test_without_a_camera_the_page_says_what_to_do(
    page: Page, live_server: LiveServer, colours: ModelVersion, name: str, sentence: str
) -> None:
    page.goto(f"{live_server.url}/live/")
    page.evaluate(REFUSE, name)
    page.get_by_role("button", name="Start the camera").click()
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    expect(page.get_by_role("button", name="Start the camera")).to_be_enabled()
