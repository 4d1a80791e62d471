"""Reviewing and correcting, acted out in headless Chromium."""

import re
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone
from playwright.sync_api import APIResponse, Browser, FilePayload, Page, Route, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from classifier import reviewing
from classifier.corrections import NONE_OF_THESE
from classifier.models import (
    Correction,
    ModelVersion,
    Prediction,
    ReviewLease,
    ReviewSkip,
    Upload,
)
from classifier.tests.bundles import COLOURS, picture
from classifier.tests.pasts import make_prediction
from classifier.tests.signing_in import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _in_order_of_margins(settings: Settings) -> None:
    settings.REVIEW_RANDOM_SHARE = 0.0


@pytest.fixture
def site(live_server: LiveServer, colours: ModelVersion) -> str:
    return str(live_server.url)


@pytest.fixture
def second_page(chromium: Browser) -> Iterator[Page]:
    """Somebody else's browser, with cookies of its own."""
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(15_000)
    yield page
    context.close()


@pytest.fixture
def plain_page(chromium: Browser) -> Iterator[Page]:
    """A phone without JavaScript."""
    context = chromium.new_context(
        java_script_enabled=False, viewport={"width": 390, "height": 844}
    )
    yield context.new_page()
    context.close()


def person(name: str) -> User:
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="review_prediction"))
    return user


def sits_down(page: Page, site: str, name: str = "ada") -> None:
    """Let somebody who may review come to the review page."""
    sign_in(page.context, site, person(name))
    page.goto(f"{site}/review/")


def make_many(version: ModelVersion, count: int) -> list[Prediction]:
    """Return predictions of rising margins, all of them "red", of pictures in three colours."""
    made = []
    for number in range(count):
        content = picture(COLOURS[number % len(COLOURS)])
        row = make_prediction(version, filename=f"{number}.png", content=content)
        row.margin = number / 1000
        row.save(update_fields=["margin"])
        made.append(row)
    return made


def current(page: Page) -> str:
    return page.locator(".review-card").first.get_attribute("data-prediction") or ""


def press(page: Page, key: str) -> str:
    """Press a key and wait for another picture; return which one it was about."""
    before = current(page)
    page.keyboard.press(key)
    expect(page.locator(".review-card").first).not_to_have_attribute("data-prediction", before)
    return before


def held(holder: str) -> int:
    """Count the pictures that somebody's window holds."""
    leases = ReviewLease.objects.filter(holder__startswith=holder, until__gt=timezone.now())
    return leases.count()


def saved(count: int, page: Page) -> None:
    """Wait until so many corrections stand."""
    expect(page.locator("#review-done")).to_have_text(str(count))
    becomes(count, Prediction.objects.exclude(corrected_label=None).count, page)


def becomes(expected: int, count: Callable[[], int], page: Page) -> None:
    """Wait until it is so many; what a page shows at once arrives here a little later."""
    for _ in range(100):
        if count() == expected:
            return
        page.wait_for_timeout(50)
    assert count() == expected


def test_fifty_pictures_are_reviewed_by_keyboard(
    page: Page, site: str, colours: ModelVersion
) -> None:
    rows = make_many(colours, 54)
    sits_down(page, site)
    expect(page.locator("#review-left")).to_have_text("54")
    # The next ones are here before they are asked for.
    expect(page.locator(".review-card")).to_have_count(6)

    keys = ("Enter", "2", "3", "n", " ")
    said = [press(page, keys[number % len(keys)]) for number in range(50)]
    assert said == [str(row.pk) for row in rows[:50]]
    saved(50, page)
    labels = ("red", "green", "blue", NONE_OF_THESE, "red")
    found = dict(Prediction.objects.values_list("pk", "corrected_label"))
    assert [found[row.pk] for row in rows[:50]] == [labels[n % len(keys)] for n in range(50)]
    expect(page.locator("#review-pace")).to_have_text(re.compile(r"^[0-9.]+$"))
    expect(page.locator("#review-left")).to_have_text("4")

    # Skipped, and three steps back.
    assert press(page, "s") == str(rows[50].pk)
    for row in (rows[50], rows[49], rows[48]):
        press(page, "Backspace" if row is rows[50] else "u")
        assert current(page) == str(row.pk)
    saved(48, page)
    assert not ReviewSkip.objects.exists()
    expect(page.locator("#spoken")).to_contain_text("Taken back. Next: Red")

    # A held key, a key with Ctrl, and a key when they are off, say nothing.
    page.keyboard.down("2")
    page.keyboard.down("2")
    page.keyboard.up("2")
    saved(49, page)
    page.keyboard.press("Control+2")
    page.keyboard.press("?")
    page.get_by_label("Single keys act").uncheck()
    page.keyboard.press("2")
    assert Correction.objects.standing().count() == 49
    page.reload()
    expect(page.get_by_label("Single keys act")).not_to_be_checked()
    # What was said before the page was loaded is taken back as well.
    page.locator("#review-undo").click()
    expect(page.locator(".review-card").first).to_have_attribute(
        "data-prediction", str(rows[48].pk)
    )
    saved(48, page)


def test_what_is_taken_back_stays_while_the_next_pictures_are_on_their_way(
    page: Page, site: str, colours: ModelVersion
) -> None:
    rows = make_many(colours, 12)
    sits_down(page, site)
    expect(page.locator(".review-card")).to_have_count(6)
    held: list[tuple[Route, APIResponse]] = []
    asked = re.compile(r"/review/next/")
    page.route(asked, lambda route: held.append((route, route.fetch())))
    skipped = [press(page, "s") for _ in range(3)]
    becomes(1, lambda: len(held), page)  # what the server knows, as of three that were skipped
    press(page, "u")
    ((route, response),) = held
    route.fulfill(response=response)
    page.unroute(asked)
    expect(page.locator(".review-card")).to_have_count(7)
    assert current(page) == skipped[-1] == str(rows[2].pk)
    becomes(2, ReviewSkip.objects.count, page)


def test_two_windows_never_show_the_same_picture(
    page: Page, second_page: Page, site: str, colours: ModelVersion
) -> None:
    make_many(colours, 24)
    both = (page, second_page)
    for window, name in zip(both, ("ada", "bob"), strict=True):
        sits_down(window, site, name)
        expect(window.locator(".review-card")).to_have_count(6)

    said: list[str] = []
    for _ in range(8):
        loaded = [
            set(
                window.locator(".review-card").evaluate_all(
                    "all => all.map(c => c.dataset.prediction)"
                )
            )
            for window in both
        ]
        assert not loaded[0] & loaded[1]
        said += [press(window, "Enter") for window in both]
    assert len(said) == len(set(said)) == 16
    for window in both:
        expect(window.locator("#review-done")).to_have_text("8")
    # What was answered is let go of as it arrives; a page that is left gives back the others.
    becomes(8, lambda: held("u"), page)
    for window in both:
        window.goto(site)
    becomes(0, lambda: held("u"), page)


def test_what_was_not_saved_is_said_and_the_pictures_come_back(
    page: Page, site: str, colours: ModelVersion
) -> None:
    rows = make_many(colours, 5)
    sits_down(page, site)
    expect(page.locator(".review-card")).to_have_count(5)

    press(page, "1")
    saved(1, page)
    page.context.set_offline(True)
    page.keyboard.press("2")
    expect(page.get_by_role("alert")).to_contain_text("the connection or the server is not there")
    assert current(page) == str(rows[1].pk)
    expect(page.locator("#review-done")).to_have_text("1")
    page.context.set_offline(False)
    press(page, "2")
    expect(page.get_by_role("alert")).to_be_hidden()
    saved(2, page)
    # To the end, and back from there.
    for _ in range(3):
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Nothing to review now")).to_be_visible()
    saved(5, page)
    page.keyboard.press("u")
    saved(4, page)
    assert current(page) == str(rows[4].pk)
    expect(page.get_by_role("heading", name="Nothing to review now")).to_be_hidden()


def test_a_picture_that_somebody_else_took_is_theirs(
    page: Page, site: str, colours: ModelVersion
) -> None:
    rows = make_many(colours, 3)
    sits_down(page, site)
    expect(page.locator(".review-card")).to_have_count(3)
    # She went for lunch, and the leases ran out.
    ReviewLease.objects.filter(upload=rows[0].upload).update(until="2020-01-01T00:00:00Z")
    bob = reviewing.Reviewer(person("bob"), None, "b")
    assert [card.prediction for card in reviewing.take(bob, colours.model, 1)] == [rows[0]]
    press(page, "3")
    expect(page.get_by_role("alert")).to_contain_text(
        "Somebody else is looking at this picture now"
    )
    assert current(page) == str(rows[1].pk)
    assert not Correction.objects.exists()


def test_a_picture_is_corrected_on_its_page_and_taken_back_by_the_toast(
    page: Page, site: str, colours: ModelVersion
) -> None:
    (row,) = make_many(colours, 1)
    person("ada")
    sign_in(page.context, site, User.objects.get(username="ada"))
    page.goto(f"{site}/predictions/{row.pk}/")
    part = page.get_by_role("region", name="Is it right?")
    part.get_by_role("button", name="Right").click()
    expect(part).to_contain_text("Right, says you")
    part.get_by_text("Something else").click()
    part.get_by_role("button", name="Blue").click()
    expect(part).to_contain_text("It shows Blue, says you")
    toasts = page.get_by_role("region", name="Notices")
    expect(toasts).to_contain_text("Kept: it shows Blue.")
    toasts.locator(".toast-line", has_text="Blue").get_by_role("button", name="Undo").click()
    expect(part).to_contain_text("Right, says you")
    part.get_by_role("button", name="Take back").click()
    expect(part).to_contain_text("Is this right?")
    row.refresh_from_db()
    assert row.corrected_label is None
    page.context.set_offline(True)
    part.get_by_role("button", name="Right").click()
    expect(toasts).to_contain_text("This was not kept")
    page.context.set_offline(False)
    assert Correction.objects.standing().count() == 0


def test_without_javascript_a_phone_reviews_page_after_page(
    plain_page: Page, site: str, colours: ModelVersion
) -> None:
    page = plain_page
    make_many(colours, 2)
    page.goto(site)
    red = FilePayload(name="red.png", mimeType="image/png", buffer=picture())
    page.set_input_files("#image", files=[red])
    page.get_by_role("button", name="Classify").first.click()
    mine = Upload.objects.latest("pk")
    # A visitor reviews their own: the others' do not come.
    page.goto(f"{site}/review/")
    assert current(page) == str(mine.predictions.get().pk)
    page.get_by_role("button", name=re.compile("^Green")).click()
    expect(page.get_by_role("status").first).to_have_text("Kept: Green.")
    expect(page.get_by_role("heading", name="Nothing to review now")).to_be_visible()
    page.get_by_role("button", name="Undo the last one").click()
    page.get_by_role("button", name=re.compile("^Right")).click()
    assert Correction.objects.standing().get().label == "red"
