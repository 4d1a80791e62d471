"""axe-core finds nothing to complain of on any page, light or dark."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, Page
from pytest_django.live_server_helper import LiveServer

from classifier import classification, registry
from classifier.models import ModelVersion
from classifier.tests.addresses import addresses, arguments, let_go, one_of_each
from classifier.tests.bundles import make_bundle, picture
from classifier.tests.signing_in import sign_in
from classifyme.tests.browser import settle

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

# Django's own, into which nothing of ours is put.
DJANGOS = ("_history", "_delete", "password_change", "_done", "_autocomplete")
DJANGOS_TABLES = ("admin:auth_group_", "admin:django_tasks_database_")
# What a page shows when something is asked of it, and what is nowhere.
FURTHER = {
    "/history/?label=nonsense": 200,
    "/history/?view=table": 200,
    "/admin/classifier/modelversion/compare/?version=colours:1&version=colours:2": 200,
    "/admin/classifier/modelversion/compare/?version=colours:1": 400,
    "/nowhere/": 404,
}
# Of its pages we answer for what is put in: not for its boxes to choose several from, nor for the
# columns without a name of its tables in forms.
CONTEXT = {"include": [["html"]], "exclude": [[".selector"], [".tabular thead"]]}
VIOLATIONS = {"resultTypes": ["violations"]}
CONTRAST = VIOLATIONS | {"runOnly": {"type": "rule", "values": ["color-contrast"]}}


@pytest.fixture
def ada(colours: ModelVersion) -> User:
    """Somebody who may everything and sent pictures of three colours."""
    return User.objects.create_superuser("ada")


@pytest.fixture
def things(ada: User, tmp_path: Path) -> Mapping[str, object]:
    """One of everything that an address may name, and two versions to compare."""
    registry.register(make_bundle(tmp_path / "second", seed=1).root)
    made = [
        classification.classify(picture(name), filename=f"{name}.png", owner=ada, visitor=None)
        for name in ("red", "green", "blue")
    ]
    return one_of_each(made[0])


def pages(person: User, things: Mapping[str, object]) -> list[str]:
    """Return the path of every page of ours that somebody may open."""
    client = Client()
    client.force_login(person)
    paths = []
    for name, parameters in addresses().items():
        if name.endswith(DJANGOS) or name.startswith(DJANGOS_TABLES) or name == "admin:jsi18n":
            continue
        path = reverse(name, kwargs=arguments(name, parameters, things))
        response = client.get(path)
        # Some addresses answer with a part of a page, a picture or a file.
        if response.status_code == 200 and not response.streaming and b"<html" in response.content:
            paths.append(path)
        let_go(response)
    return paths


def violations(page: Page, options: Mapping[str, object]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(
        "async ([context, options]) => (await axe.run(context, options)).violations",
        [CONTEXT, options],
    )
    return found


def complaints(page: Page, url: str, status: int = 200) -> list[str]:
    """Return what axe has against a page: rule, why, and the first elements."""
    page.emulate_media(color_scheme="light")
    answer = page.goto(url)
    assert answer is not None
    assert answer.status == status, url
    page.evaluate(Axe().axe_script)
    found = violations(page, VIOLATIONS)
    # Nothing but the colours differs in the dark; those of the admin take a moment to change.
    page.emulate_media(color_scheme="dark")
    settle(page)
    found += violations(page, CONTRAST)
    return [
        f"{url}: {each['id']}: {each['help']}: "
        + " | ".join(node["html"][:160] for node in each["nodes"][:3])
        for each in found
    ]


def test_no_page_breaks_a_rule_of_accessibility(
    chromium: Browser, live_server: LiveServer, ada: User, things: Mapping[str, object]
) -> None:
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    found: list[str] = []
    for name in ("login", "api-docs", "pages:index", "pages:history", "pages:review"):
        found += complaints(page, live_server.url + reverse(name))
    sign_in(context, live_server.url, ada)
    paths = pages(ada, things)
    assert len(paths) > 40
    for path, status in (dict.fromkeys(paths, 200) | FURTHER).items():
        found += complaints(page, live_server.url + path, status)
    context.close()
    assert not found, "\n".join(found)
