"""A person at the pages, acted out in headless Chromium.

The `page` fixture fails a test if a page violates the Content-Security-Policy or a script raises.
"""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, FileChooser, FilePayload, Page, Route, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from classifier import registry
from classifier.models import ModelVersion, Upload
from classifier.tests import pictures
from classifier.tests.bundles import make_bundle, picture
from classifier.tests.odd_sites import answering, odd_site

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

# A file from outside cannot be dragged by a test; what a page gets when one is dropped can be made.
DROP = """([target, files]) => {
    const dataTransfer = new DataTransfer();
    for (const [name, type, content] of files) {
        const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
        dataTransfer.items.add(new File([bytes], name, { type }));
    }
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
    drop_all(page, {name: content}, target=target)


def drop_all(page: Page, files: dict[str, bytes], *, target: str = "#frame") -> None:
    """Drop several files at once."""
    sent = [
        [name, "image/png", base64.b64encode(content).decode()] for name, content in files.items()
    ]
    assert page.evaluate(DROP, [target, sent])


def let_go(held: list[Route]) -> None:
    """End requests that a test kept from the server."""
    for route in held:
        route.abort()


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
    expect(page.locator("#spoken")).to_have_text(re.compile(r"Red, .+ %\. High confidence\."))
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


def test_ten_pictures_at_once_are_ten_cards_and_nothing_is_lost_on_the_way_back(
    page: Page, site: str
) -> None:
    page.goto(site)
    names = [("red", "green", "blue")[number % 3] for number in range(9)]
    files = {f"{number}-{name}.png": picture(name) for number, name in enumerate(names)}
    drop_all(page, files | {"notes.pdf": b"%PDF-1.7\n"})
    cards = page.locator("#cards .card-item")
    expect(cards).to_have_count(10)
    expect(page.locator("#cards [data-state=answered]")).to_have_count(9)
    assert page.locator("#cards .card-said").all_inner_texts()[:9] == [
        name.capitalize() for name in names
    ]
    failed = page.locator("#cards [data-state=failed]")
    expect(failed).to_contain_text("PDF")
    expect(page.locator("#sheet-line")).to_have_text("9 answered, 1 failed")
    expect(page.locator("#spoken")).to_have_text("Done: 9 answered, 1 failed.")
    # All of them are one visitor's, the first too, who had no cookie yet.
    assert Upload.objects.values("visitor").distinct().count() == 1
    # Each card shows its picture, drawn small.
    expect(cards.first.locator("canvas")).to_be_visible()

    # The first stands large; another one, when it is pressed.
    expect(page.locator(".verdict-label")).to_have_text("Red")
    cards.nth(2).locator(".card-open").click()
    expect(page.locator(".verdict-label")).to_have_text("Blue")
    page.keyboard.press("ArrowLeft")
    expect(cards.nth(1).locator(".card-open")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".verdict-label")).to_have_text("Green")

    page.get_by_role("link", name="Open its own page").click()
    expect(page.locator(".facts")).to_contain_text("1-green.png")
    page.goto(site)
    earlier = page.locator("#earlier")
    expect(earlier).to_contain_text("9 answers, kept in your history.")
    expect(earlier.locator(".card-item")).to_have_count(9)
    expect(earlier.locator("img").first).to_have_js_property("complete", True)
    earlier.get_by_role("link").last.click()
    expect(page.locator(".facts")).to_contain_text("0-red.png")


def test_what_is_under_way_is_cancelled_and_tried_again(page: Page, site: str) -> None:
    held: list[Route] = []
    page.goto(site)
    drop(page, picture("red"), "first.png")
    expect(page.locator(".verdict-label")).to_have_text("Red")
    page.route("**/", lambda route: held.append(route))
    drop_all(page, {f"{number}.png": picture("blue") for number in range(5)})
    # Three at once, no more.
    expect(page.locator("#cards [data-state=looking], #cards [data-state=sending]")).to_have_count(
        3
    )
    expect(page.locator("#cards [data-state=waiting]")).to_have_count(2)
    expect(page.locator("#sheet-line")).to_have_text("1 of 6")
    assert page.evaluate("() => !dispatchEvent(new Event('beforeunload', { cancelable: true }))"), (
        "one is asked before one leaves"
    )
    page.get_by_role("button", name="Cancel 4.png").click()
    expect(page.locator("#cards [data-state=cancelled]")).to_have_count(1)
    page.get_by_role("button", name="Cancel the rest").click()
    expect(page.locator("#sheet-line")).to_have_text("1 answered, 5 cancelled")
    assert page.evaluate("() => dispatchEvent(new Event('beforeunload', { cancelable: true }))")
    let_go(held)
    page.unroute("**/")
    page.get_by_role("button", name="Retry 0.png").click()
    expect(page.locator("#cards [data-state=answered]")).to_have_count(2)
    page.get_by_role("button", name="Try again what failed").click()
    expect(page.locator("#sheet-line")).to_have_text("6 answered")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#sheet")).to_be_hidden()
    assert Upload.objects.count() == 6


def test_what_was_not_answered_when_one_left_is_said_once(page: Page, site: str) -> None:
    page.goto(site)
    drop(page, picture("red"), "first.png")
    expect(page.locator(".verdict-label")).to_have_text("Red")

    def hold(route: Route) -> None:
        if route.request.method != "POST":
            route.continue_()

    page.route("**/", hold)
    drop_all(page, {f"{number}.png": picture("blue") for number in range(3)})
    expect(page.locator("#sheet-line")).to_have_text("1 of 4")
    page.goto(site)
    line = page.locator("#earlier-line")
    expect(line).to_contain_text("1 answer, kept in your history. 3 pictures were not answered")
    page.reload()
    expect(line).to_have_text("1 answer, kept in your history.")
    page.unroute("**/")
    # Somebody else at this browser sees none of it.
    sign_in_to_admin(page, site)
    page.goto(site)
    expect(page.get_by_text("Ready when you are")).to_be_visible()
    expect(page.locator("#earlier")).to_be_hidden()


def test_a_list_of_hundreds_is_drawn_as_it_comes_into_view(page: Page, site: str) -> None:
    page.goto(site)
    # What is sent stays on its way: this is about the drawing.
    held: list[Route] = []
    page.route("**/", lambda route: held.append(route))
    drop_all(page, {f"{number}.png": b"x" for number in range(600)})
    expect(page.locator("#sheet-title")).to_have_text("600 pictures")
    assert page.locator("#cards .card-item").count() < 150
    for _ in range(30):
        page.mouse.wheel(0, 4_000)
        page.wait_for_timeout(50)
        if page.locator("#cards .card-item").count() == 600:
            break
    expect(page.locator("#cards .card-item")).to_have_count(600)
    page.get_by_role("button", name="Cancel the rest").click()
    expect(page.locator("#sheet-line")).to_have_text("600 cancelled")
    let_go(held)


@pytest.fixture
def holiday(tmp_path: Path) -> Path:
    """A folder of pictures, with another folder and something else in it."""
    folder = tmp_path / "holiday"
    (folder / "more").mkdir(parents=True)
    for name, colour in (("10.png", "blue"), ("9.png", "green"), ("more/1.png", "red")):
        (folder / name).write_bytes(picture(colour))
    (folder / "notes.txt").write_text("hello")
    return folder


def test_of_a_folder_the_pictures_are_taken_in_the_order_of_their_names(
    page: Page, site: str, holiday: Path
) -> None:
    page.goto(site)
    page.set_input_files("#folder", holiday)
    expect(page.locator("#sheet-line")).to_have_text("3 answered")
    names = page.locator("#cards .card-name").all_inner_texts()
    assert names == ["9.png", "10.png", "1.png"]
    expect(page.locator("#toasts")).to_contain_text("1 file is no picture and was left out.")


def test_a_folder_is_dropped_and_taken_with_all_in_it(page: Page, site: str, holiday: Path) -> None:
    page.goto(site)
    frame = page.locator("#frame").bounding_box()
    assert frame
    devtools = page.context.new_cdp_session(page)
    dragged = {"items": [], "files": [str(holiday)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        place = {"x": frame["x"] + 40, "y": frame["y"] + 40}
        devtools.send("Input.dispatchDragEvent", {"type": kind, "data": dragged, **place})
    expect(page.locator("#sheet-line")).to_have_text("3 answered")
    names = page.locator("#cards .card-name").all_inner_texts()
    assert names == ["9.png", "10.png", "1.png"]


def test_on_a_phone_a_photo_is_taken_and_one_comes_to_its_answer_next(
    chromium: Browser, site: str
) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844}, is_mobile=True)
    page = context.new_page()
    page.goto(site)
    camera = page.locator("#camera")
    expect(camera).to_have_attribute("capture", "environment")
    camera.set_input_files(file("photo.jpg", picture("green", kind="JPEG")))
    expect(page.locator(".verdict-label")).to_have_text("Green")
    answer, ways = page.locator("#answer").bounding_box(), page.locator(".ways").bounding_box()
    assert answer
    assert ways
    assert answer["y"] < ways["y"]
    # Keys go on from there, though it stands behind the form in the document.
    expect(page.get_by_role("region", name="Answer")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#answer :focus")).to_have_count(1)
    context.close()


def test_what_is_no_picture_is_said_without_being_sent(page: Page, site: str) -> None:
    page.goto(site)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    text = FilePayload(name="notes.txt", mimeType="text/plain", buffer=b"hello")
    page.set_input_files("#image", files=[text])
    expect(page.get_by_role("alert")).to_contain_text("not a picture")
    assert "POST" not in sent


def test_a_picture_at_an_address_is_classified_in_place(
    page: Page, site: str, settings: Settings
) -> None:
    with odd_site() as elsewhere:
        elsewhere.answer = answering(picture("blue"))
        settings.URL_FETCHING_PRIVATE_HOSTS = [f"127.0.0.1:{elsewhere.port}"]
        page.goto(site)
        page.get_by_text("From an address").click()
        field = page.get_by_label("Address of a picture on the web")
        field.fill(f"http://127.0.0.1:{elsewhere.port}/sky.png")
        field.press("Enter")
        expect(page.locator(".verdict-label")).to_have_text("Blue")
        # The picture is shown from where it is kept.
        expect(page.locator("#preview")).to_have_js_property("naturalWidth", 48)
        field.fill("http://10.0.0.1/cat.png")
        page.get_by_role("button", name="Classify it").click()
        expect(page.get_by_role("alert")).to_contain_text("public")
        field.fill("ftp://example.org/cat.png")
        field.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("begins with http:// or https://")


def test_models_are_chosen_and_stand_side_by_side(page: Page, site: str, tmp_path: Path) -> None:
    # Its answers are turned round; its samples are those of a shipped model.
    bundle = make_bundle(tmp_path / "cifar10", name="cifar10", title="CIFAR-10", rotate=1)
    registry.register(bundle.root, activate=True, reason="for a test")
    page.goto(site)
    page.get_by_label("Model", exact=True).select_option("CIFAR-10")
    answer = page.get_by_role("region", name="Answer")
    expect(answer).to_contain_text("CIFAR-10 v1 answers now.")
    with page.expect_response(lambda response: response.request.method == "POST"):
        page.locator("#samples button").first.click()
    expect(answer).to_contain_text("Answered by CIFAR-10 v1")
    expect(page.locator("#preview")).to_be_visible()

    page.get_by_text("Side by side").click()
    page.get_by_label("Colours v1").check()
    page.get_by_label("CIFAR-10 v1").check()
    expect(page.locator("#beside-count")).to_have_text("2")
    drop(page, picture("red"), "poppy.png")
    columns = answer.locator(".beside-column")
    expect(columns).to_have_count(2)
    assert sorted(columns.locator(".verdict-label").all_inner_texts()) == ["Green", "Red"]
    expect(page.locator("#cards .card-said").last).to_have_text("2 answers")
    page.get_by_role("link", name="Open its own page").click()
    expect(page.locator(".beside-column")).to_have_count(2)
    # What was chosen is remembered.
    page.goto(site)
    expect(page.get_by_label("Model", exact=True)).to_have_value("cifar10")


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
    expect(page.get_by_label("Pictures", exact=True)).to_be_focused()
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


def test_without_javascript_many_pictures_come_back_on_one_page(
    plain_page: Page, site: str
) -> None:
    page = plain_page
    page.goto(site)
    colours = ("red", "green", "blue")
    page.set_input_files("#image", files=[file(f"{name}.png", picture(name)) for name in colours])
    page.get_by_role("button", name="Classify", exact=True).click()
    expect(page.get_by_role("heading", name="3 answers")).to_be_visible()
    assert page.locator(".verdict-label").all_inner_texts() == ["Red", "Green", "Blue"]
    page.get_by_role("link", name="Open its own page").first.click()
    expect(page.locator(".facts")).to_contain_text("red.png")


def test_without_javascript_the_form_does_it_all(plain_page: Page, site: str) -> None:
    page = plain_page
    page.goto(site)
    page.set_input_files("#image", files=[file("notes.txt", b"hello")])
    page.get_by_role("button", name="Classify", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("not a picture")
    page.set_input_files("#image", files=[file("red.png", picture())])
    page.get_by_role("button", name="Classify", exact=True).click()
    expect(page.locator(".verdict-label")).to_have_text("Red")
    page.get_by_role("link", name="History").first.click()
    page.get_by_label("Label").select_option("Red")
    page.get_by_role("button", name="Filter").click()
    page.locator(".print").click()
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status").filter(has_text="Deleted.")).to_be_visible()
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
        f"{site}/live/",
        detail,
        f"{detail}delete/",
        f"{site}/history/",
        f"{site}/accounts/login/",
    ):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
