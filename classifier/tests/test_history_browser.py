"""Somebody at the history, acted out in headless Chromium."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from classifier import listing
from classifier.models import Correction, ModelVersion, Prediction
from classifier.tests.pasts import make_prediction
from classifier.tests.signing_in import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

COUNT = 30


@pytest.fixture
def past(live_server: LiveServer, colours: ModelVersion) -> str:
    """The address of a history of thirty pictures, every third of which is blue."""
    ada = User.objects.create_user("ada")
    for number in range(COUNT):
        make_prediction(
            colours,
            owner=ada,
            label="blue" if number % 3 == 0 else "red",
            filename=f"photo-{number:02}.png",
            confidence=0.5 + number / 100,
        )
    return f"{live_server.url}/history/"


@pytest.fixture
def plain_page(chromium: Browser) -> Iterator[Page]:
    """A browser window without JavaScript."""
    context = chromium.new_context(java_script_enabled=False)
    yield context.new_page()
    context.close()


def test_a_person_finds_pictures_and_goes_back_and_forth(page: Page, past: str) -> None:
    sign_in(page.context, past.removesuffix("/history/"), User.objects.get(username="ada"))
    page.goto(past)
    prints = page.locator(".print")
    expect(prints).to_have_count(24)
    page.evaluate("window.isSamePage = true")
    page.get_by_role("link", name="Older").click()
    expect(prints).to_have_count(COUNT - 24)
    page.get_by_label("Label", exact=True).select_option("Blue")
    expect(prints).to_have_count(10)
    expect(page).to_have_url(f"{past}?label=blue")
    page.get_by_label("Search").fill("photo-2")
    expect(prints).to_have_count(3)
    expect(page).to_have_url(f"{past}?q=photo-2&label=blue")
    page.get_by_label("Sort").select_option("Least sure first")
    expect(prints.first).to_contain_text("photo-21.png")
    expect(page.locator("#spoken")).to_have_text("3 pictures shown.")
    # All of that exchanged the list alone.
    assert page.evaluate("window.isSamePage")

    page.go_back()
    expect(prints.first).to_contain_text("photo-27.png")
    page.get_by_role("link", name="Search photo-2").click()
    expect(page).to_have_url(f"{past}?label=blue")
    expect(prints).to_have_count(10)
    page.get_by_role("link", name="Table").click()
    expect(page.get_by_role("row")).to_have_count(11)
    page.goto(past)
    expect(page.get_by_role("row")).to_have_count(25)

    page.get_by_text("More filters").click()
    page.get_by_label("When").select_option("Yesterday")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    zone = page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone")
    assert f"tz={zone}" in page.url.replace("%2F", "/")


def test_a_search_that_finds_nothing_near_goes_on_by_itself(
    page: Page, past: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, rows in (("FIRST_LOOK", 2), ("LOOK", 4), ("FAR_LOOK", 5)):
        monkeypatch.setattr(listing, name, rows)
    sign_in(page.context, past.removesuffix("/history/"), User.objects.get(username="ada"))
    page.goto(f"{past}?q=oto-03")
    expect(page.locator(".print")).to_have_count(1)
    expect(page.locator(".print")).to_contain_text("photo-03.png")
    # The address stays the one of the search; another search may begin at any time.
    expect(page).to_have_url(f"{past}?q=oto-03")
    page.get_by_label("Search").fill("oto-29")
    expect(page.locator(".print")).to_contain_text("photo-29.png")


def test_pictures_are_chosen_by_keyboard_and_corrected_and_that_is_undone(
    page: Page, past: str
) -> None:
    sign_in(page.context, past.removesuffix("/history/"), User.objects.get(username="ada"))
    page.goto(past)
    bar = page.get_by_role("group", name="With the selected pictures")
    expect(bar).to_be_hidden()
    for key in ("j", "x", "j", "ArrowRight", "Shift+X"):
        page.keyboard.press(key)
    expect(bar).to_contain_text("3 selected")
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="By keyboard")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    page.get_by_label("They show").select_option("None of these")
    page.get_by_role("button", name="Correct", exact=True).click()
    expect(page.locator(".toast-line")).to_contain_text("3 pictures corrected.")
    expect(page.locator(".print-said")).to_have_text(["none of these"] * 3)
    expect(bar).to_be_hidden()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".print-said")).to_have_count(0)
    assert Correction.objects.count() == 3
    assert not Prediction.objects.exclude(corrected_label=None).exists()
    page.keyboard.press("a")
    expect(bar).to_contain_text("24 selected")
    page.keyboard.press("Escape")
    expect(bar).to_be_hidden()
    # The keys go on from the picture where they were.
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator(".facts")).to_contain_text("photo-27.png")


def test_deleting_waits_until_nobody_undoes_it(page: Page, past: str) -> None:
    sign_in(page.context, past.removesuffix("/history/"), User.objects.get(username="ada"))
    page.goto(past)
    ticks = page.get_by_role("checkbox", name="Select")
    ticks.nth(0).check()
    ticks.nth(2).click(modifiers=["Shift"])
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".is-going")).to_have_count(3)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".is-going")).to_have_count(0)
    ticks.nth(1).check()
    page.get_by_role("button", name="Delete").click()
    # Whoever leaves keeps the picture.
    page.reload()
    expect(page.locator(".print")).to_have_count(24)
    assert Prediction.objects.count() == COUNT
    ticks.nth(1).check()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".toast-line")).to_contain_text("1 picture deleted.")
    expect(page.get_by_text("photo-28.png")).to_have_count(0)
    assert Prediction.objects.count() == COUNT - 1


def test_nothing_is_deleted_while_somebody_is_at_the_button_that_undoes_it(
    page: Page, past: str
) -> None:
    sign_in(page.context, past.removesuffix("/history/"), User.objects.get(username="ada"))
    page.clock.install()
    page.goto(past)
    page.get_by_role("checkbox", name="Select").nth(0).check()
    page.get_by_role("button", name="Delete").click()
    undo = page.get_by_role("button", name="Undo")
    undo.focus()
    undo.hover()
    page.mouse.move(0, 0)
    page.clock.run_for(30_000)
    expect(page.locator(".is-going")).to_have_count(1)
    assert Prediction.objects.count() == COUNT
    undo.blur()
    page.clock.run_for(8_000)
    expect(page.locator(".toast-line")).to_contain_text("1 picture deleted.")


def test_without_javascript_pictures_are_chosen_corrected_and_deleted(
    plain_page: Page, past: str
) -> None:
    page = plain_page
    sign_in(page.context, past.removesuffix("/history/"), User.objects.get(username="ada"))
    page.goto(past)
    page.get_by_label("Search").fill("photo-1")
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(f"{past}?q=photo-1")
    ticks = page.get_by_role("checkbox", name="Select")
    ticks.nth(0).check()
    ticks.nth(1).check()
    page.get_by_label("They show").select_option("Blue")
    page.get_by_role("button", name="Correct", exact=True).click()
    expect(page.get_by_role("status").first).to_have_text("2 pictures corrected.")
    expect(page).to_have_url(f"{past}?q=photo-1")
    ticks.nth(1).check()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Delete 1 picture?")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status").first).to_have_text("1 picture deleted.")
    expect(page.locator(".print")).to_have_count(9)
