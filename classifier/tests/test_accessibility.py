"""Every page against axe-core's rules (WCAG 2 A and AA, and its best practices), light and dark."""

from typing import Any
from uuid import UUID

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page
from pytest_django.live_server_helper import LiveServer

from classifier import classification, corrections
from classifier.models import ModelVersion, Prediction
from classifier.tests.bundles import picture
from classifier.tests.signing_in import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

# What a person sees without signing in.
OPEN = ("/accounts/login/", "/api/v1/docs")
# Of Django's own pages we answer for what we put into them.
ADMIN = (
    "/admin/",
    "/admin/classifier/registeredmodel/",
    "/admin/classifier/modelversion/",
    "/admin/classifier/modelversion/{version}/change/",
    "/admin/classifier/modelversion/{version}/activate/",
    "/admin/classifier/prediction/",
    "/admin/classifier/prediction/{prediction}/change/",
    "/admin/classifier/apitoken/add/",
    "/admin/training/trainingrun/",
    "/admin/training/datasetsnapshot/",
)
OWN = (
    "/",
    "/history/",
    "/history/?label=nonsense",
    "/predictions/{prediction}/",
    "/predictions/{prediction}/delete/",
    "/live/",
    "/uploads/{upload}/",
    "/nowhere/",
)


@pytest.fixture
def ids(colours: ModelVersion) -> dict[str, UUID]:
    """Pictures of three colours, one of them corrected."""
    ada = User.objects.create_superuser("ada")
    made: list[Prediction] = [
        classification.classify(picture(name), filename=f"{name}.png", owner=ada, visitor=None)
        for name in ("red", "green", "blue")
    ]
    corrections.correct(made[0], label="green", by=ada)
    return {"version": colours.pk, "prediction": made[0].pk, "upload": made[0].upload_id}


def complaints(page: Page, url: str) -> list[str]:
    """Return what axe has against a page: rule, why, and the first elements."""
    page.goto(url)
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{url}: {each['id']}: {each['help']}: "
        + " | ".join(node["html"][:160] for node in each["nodes"][:3])
        for each in found
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_a_rule_of_accessibility(
    chromium: Browser, live_server: LiveServer, ids: dict[str, UUID], scheme: str
) -> None:
    context = chromium.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})  # type: ignore[arg-type]
    page = context.new_page()
    found: list[str] = []
    for path in OPEN:
        found += complaints(page, f"{live_server.url}{path}")
    sign_in(context, live_server.url, User.objects.get(username="ada"))
    for path in (*OWN, *ADMIN):
        found += complaints(page, live_server.url + path.format(**ids))
    context.close()
    assert not found, "\n".join(found)
