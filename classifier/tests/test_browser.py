"""A person at the pages, acted out in headless Chromium.

The `page` fixture fails a test if a page violates the Content-Security-Policy or a script raises.
"""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, FileChooser, FilePayload, Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from classifier import registry
from classifier.models import ModelVersion, Upload
from classifier.tests import pictures
from classifier.tests.bundles import make_bundle, picture

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

# A file from outside cannot be dragged by a test; what a page gets when one is dropped can be made.
DROP = """([target, name, type, content]) => {
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name, { type }));
    const options = { bubbles: true, cancelable: true, dataTransfer };
    const element = document.querySelector(target);
    const over = !element.dispatchEvent(new DragEvent("dragover", options));
    for (const kind of ["dragenter", "drop"]) element.dispatchEvent(new DragEvent(kind, options));
    return over;
}"""
PASTE = """([name, type, content]) => {
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([bytes], name, { type }));
    document.body.dispatchEvent(new ClipboardEvent("paste", { bubbles: true, clipboardData }));
}"""


@pytest.fixture
def site(live_server: LiveServer, colours: ModelVersion) -> str:
    """The address of a running ClassifyMe that tells red from green and blue."""
    return str(live_server.url)


@pytest.fixture
def plain_page(chromium: Browser) -> Iterator[Page]:
    """A browser window without JavaScript."""
    context = chromium.new_context(java_script_enabled=False)
    yield context.new_page()
    context.close()


def drop(page: Page, content: bytes, name: str, *, target: str = "#frame") -> None:
    """Drop a file on the page; the page must have said that it takes it."""
    encoded = base64.b64encode(content).decode()
    assert page.evaluate(DROP, [target, name, "image/png", encoded])


def file(name: str, content: bytes) -> FilePayload:
    return FilePayload(name=name, mimeType="application/octet-stream", buffer=content)


def sign_in_to_admin(page: Page, site: str) -> None:
    User.objects.create_superuser("ada", password="engine")
    page.goto(f"{site}/admin/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill("engine")
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{site}/admin/")


def test_a_person_classifies_a_photo_finds_it_again_and_switches_the_version(
    page: Page, site: str, tmp_path: Path
) -> None:
    # Its answers are turned round, so that who answered can be seen.
    registry.register(make_bundle(tmp_path / "second", seed=1, rotate=1).root)

    page.goto(site)
    drop(page, picture("red"), "poppy.png")
    answer = page.get_by_role("region", name="Answer")
    expect(answer.locator(".verdict-label")).to_have_text("Red")
    expect(answer.locator(".level-badge")).to_have_text(re.compile("High confidence"))
    expect(answer.locator(".bars li")).to_have_count(3)
    expect(answer).to_contain_text(re.compile(r"Answered by Colours v1 .*\sms"))
    expect(page.get_by_role("status")).to_have_text(re.compile(r"Red, .+ %\. High confidence\."))
    expect(page.get_by_alt_text("The picture you chose")).to_be_visible()

    page.get_by_role("link", name="See your history").click()
    print_ = page.locator(".print")
    expect(print_).to_have_count(1)
    expect(print_).to_contain_text("Red")
    expect(print_.locator("img")).to_have_js_property("naturalWidth", 48)
    print_.click()
    expect(page.locator(".facts")).to_contain_text("poppy.png")

    sign_in_to_admin(page, site)
    page.get_by_role("link", name="Model versions", exact=True).first.click()
    page.get_by_role("link", name="v2", exact=False).first.click()
    page.get_by_role("link", name="Activate").click()
    page.get_by_label("Reason").fill("It sees more.")
    page.get_by_role("button", name="Activate v2").click()
    expect(page.get_by_text("Colours v2 is active")).to_be_visible()

    # The promise is two seconds; the page says so when the version is switched.
    page.wait_for_timeout(2_000)
    page.goto(site)
    drop(page, picture("red"), "poppy.png")
    expect(answer.locator(".verdict-label")).to_have_text("Green")
    expect(answer).to_contain_text("Answered by Colours v2")


def test_a_picture_dropped_beside_the_frame_is_taken_too(page: Page, site: str) -> None:
    page.goto(site)
    drop(page, picture("blue"), "sky.png", target="h1")
    expect(page.locator(".verdict-label")).to_have_text("Blue")


def test_a_pasted_picture_is_classified(page: Page, site: str) -> None:
    page.goto(site)
    encoded = base64.b64encode(picture("green")).decode()
    page.evaluate(PASTE, ["image.png", "image/png", encoded])
    expect(page.locator(".verdict-label")).to_have_text("Green")


def test_a_chosen_picture_is_classified_and_the_same_one_again(page: Page, site: str) -> None:
    page.goto(site)
    for _ in range(2):
        with page.expect_response(lambda response: response.request.method == "POST"):
            page.set_input_files("#image", files=[file("red.png", picture())])
        expect(page.locator(".verdict-label")).to_have_text("Red")
    assert Upload.objects.count() == 2


def test_a_picture_the_browser_cannot_show_is_shown_once_the_server_has(
    page: Page, site: str
) -> None:
    page.goto(site)
    content = pictures.encoded(pictures.scene(), "TIFF")
    page.set_input_files("#image", files=[file("scan.tif", content)])
    expect(page.locator(".verdict-label")).to_be_visible()
    expect(page.locator("#preview")).to_be_visible()
    expect(page.locator("#preview")).to_have_js_property("naturalWidth", 48)


def test_a_bad_file_is_said_at_the_frame_and_the_next_good_one_clears_it(
    page: Page, site: str
) -> None:
    page.goto(site)
    drop(page, picture("red"), "poppy.png")
    expect(page.locator(".verdict-label")).to_have_text("Red")
    drop(page, b"hello", "notes.txt")
    expect(page.get_by_role("alert")).to_contain_text("not a picture")
    # The answer to the picture before must not stand beside this one.
    expect(page.locator(".verdict-label")).to_have_count(0)
    drop(page, picture("blue"), "sky.png")
    expect(page.locator(".verdict-label")).to_have_text("Blue")
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_file_too_large_is_said_without_being_sent(
    page: Page, site: str, settings: Settings
) -> None:
    settings.IMAGE_MAX_BYTES = 5_000
    page.goto(site)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    drop(page, bytes(5_001), "large.png")
    expect(page.get_by_role("alert")).to_contain_text("larger than 5 kB")
    assert "POST" not in sent


def test_a_lost_connection_is_said_and_the_picture_can_be_sent_again(page: Page, site: str) -> None:
    page.goto(site)
    page.context.set_offline(True)
    drop(page, picture("red"), "poppy.png")
    expect(page.get_by_role("alert")).to_contain_text("did not get through")
    page.context.set_offline(False)
    drop(page, picture("red"), "poppy.png")
    expect(page.locator(".verdict-label")).to_have_text("Red")


def test_a_page_of_an_earlier_visit_is_told_from_a_fault(page: Page, site: str) -> None:
    page.goto(site)
    page.context.clear_cookies()
    drop(page, picture("red"), "poppy.png")
    expect(page.get_by_role("alert")).to_contain_text("out of date")


def test_the_history_filters_as_soon_as_one_chooses(page: Page, site: str) -> None:
    page.goto(site)
    for colour in ("red", "blue"):
        drop(page, picture(colour), f"{colour}.png")
        expect(page.locator(".verdict-label")).to_have_text(colour.capitalize())
    page.goto(f"{site}/history/")
    page.get_by_label("Label").select_option("Blue")
    expect(page.locator(".print")).to_have_count(1)
    expect(page).to_have_url(f"{site}/history/?label=blue")
    page.reload()
    expect(page.locator(".print")).to_have_count(1)


def test_everything_works_by_keyboard(page: Page, site: str) -> None:
    page.goto(site)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Picture", exact=True)).to_be_focused()
    choosers: list[FileChooser] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    # On a busy machine Chromium now and then lets a first request for its dialog pass by.
    for _ in range(5):
        page.keyboard.press("Space")
        page.wait_for_timeout(1_000)
        if choosers:
            break
    choosers[0].set_files(files=[file("red.png", picture())])
    expect(page.locator(".verdict-label")).to_have_text("Red")


def test_without_javascript_the_form_does_it_all(plain_page: Page, site: str) -> None:
    page = plain_page
    page.goto(site)
    page.set_input_files("#image", files=[file("notes.txt", b"hello")])
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("alert")).to_contain_text("not a picture")
    page.set_input_files("#image", files=[file("red.png", picture())])
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".verdict-label")).to_have_text("Red")
    page.get_by_role("link", name="History").first.click()
    page.get_by_label("Label").select_option("Red")
    page.get_by_role("button", name="Filter").click()
    page.locator(".print").click()
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_have_text("Deleted.")
    expect(page.get_by_text("Nothing here yet")).to_be_visible()


@pytest.mark.parametrize("width", [320, 390])
def test_no_page_is_wider_than_a_phone(page: Page, site: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    # Staff have the most in the masthead.
    sign_in_to_admin(page, site)
    page.goto(site)
    drop(page, picture("red"), f"{'a-long-name-' * 15}.png")
    expect(page.locator(".verdict-label")).to_have_text("Red")
    page.get_by_role("link", name="Open its own page").click()
    detail = page.url
    for address in (
        site,
        detail,
        f"{detail}delete/",
        f"{site}/history/",
        f"{site}/accounts/login/",
    ):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
