from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage
from pytest_django import Settings

from classifier import checks
from classifyme.environment import CloudinaryAccount


def ids(messages: list[CheckMessage]) -> list[str | None]:
    assert all(message.hint for message in messages)
    return [message.id for message in messages]


def test_the_tests_own_settings_pass(settings: Settings) -> None:
    for check in (
        checks.check_cloudinary,
        checks.check_fetching_hosts,
        checks.check_folders,
        checks.check_host_names,
        checks.check_hosts,
        checks.check_metrics_token,
        checks.check_proxy,
        checks.check_runtime,
    ):
        assert check(None) == []


def test_half_a_cloudinary_account_is_an_error(settings: Settings) -> None:
    settings.CLOUDINARY_ACCOUNT = CloudinaryAccount(problem="API_SECRET missing beside the others.")
    messages = checks.check_cloudinary(None)
    assert ids(messages) == ["classifier.E001"]
    assert "API_SECRET missing" in messages[0].msg


@pytest.mark.parametrize("name", ["MEDIA_ROOT", "BUNDLES_ROOT"])
def test_a_folder_that_is_a_file_is_an_error(settings: Settings, tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    setattr(settings, name, file / "below")
    messages = checks.check_folders(None)
    assert ids(messages) == ["classifier.E002"]
    assert messages[0].msg.startswith(name)


def test_a_folder_that_is_not_there_yet_is_fine(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "not" / "yet"
    assert checks.check_folders(None) == []


FAR = {"BACKEND": "django.core.files.storage.InMemoryStorage"}


@pytest.mark.parametrize(
    "storage",
    [
        None,
        {"BACKEND": "nowhere.Storage"},
        {"BACKEND": "pathlib.nowhere"},
        {**FAR, "OPTIONS": {"bucket_name": "models"}},
    ],
)
def test_a_storage_of_bundles_that_cannot_be_made_is_an_error(
    settings: Settings, storage: dict[str, Any] | None
) -> None:
    others = {name: value for name, value in settings.STORAGES.items() if name != "bundles"}
    settings.STORAGES = others | ({"bundles": storage} if storage else {})
    messages = checks.check_bundle_storage(None)
    assert ids(messages) == ["classifier.E020"]
    assert messages[0].msg.startswith("The bundle storage cannot be used: ")
    assert checks.check_folders(None) == checks.check_bundle_cache(None) == []


def test_a_cache_that_cannot_be_written_is_an_error_where_it_is_used(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    settings.BUNDLE_CACHE = tmp_path / "file" / "below"
    assert checks.check_folders(None) == []
    settings.STORAGES = {**settings.STORAGES, "bundles": FAR}
    messages = checks.check_folders(None)
    assert ids(messages) == ["classifier.E002"]
    assert messages[0].msg.startswith("BUNDLE_CACHE is not a folder")


def test_a_cache_in_the_folder_of_what_is_kept_is_an_error_where_it_is_used(
    settings: Settings,
) -> None:
    settings.BUNDLE_CACHE = settings.BUNDLES_ROOT
    assert checks.check_bundle_cache(None) == []
    settings.STORAGES = {**settings.STORAGES, "bundles": FAR}
    assert ids(checks.check_bundle_cache(None)) == ["classifier.E021"]


@pytest.mark.parametrize("backend", ["classifier.runtimes.nowhere.Engine", "pathlib.Path", "x"])
def test_a_runtime_that_is_none_is_an_error(settings: Settings, backend: str) -> None:
    settings.RUNTIME = {"BACKEND": backend, "OPTIONS": {}}
    assert ids(checks.check_runtime(None)) == ["classifier.E003"]


def test_listening_to_everybody_under_local_names_is_a_warning(settings: Settings) -> None:
    settings.HOST = "0.0.0.0"  # noqa: S104
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", settings.HOST]
    assert ids(checks.check_hosts(None)) == ["classifier.W001"]
    settings.ALLOWED_HOSTS = ["classify.example.org", settings.HOST]
    assert checks.check_hosts(None) == []


@pytest.mark.parametrize(
    "host",
    [
        "http://a.example",
        "a.example:8000",
        "a.example/x",
        "a.example b.example",
        "::1",
        "*.a.example",
    ],
)
def test_a_host_that_no_request_can_have_is_an_error(settings: Settings, host: str) -> None:
    settings.ALLOWED_HOSTS = ["localhost", host]
    messages = checks.check_host_names(None)
    assert ids(messages) == ["classifier.E005"]
    assert repr(host) in messages[0].msg


def test_names_subdomains_addresses_and_the_wildcard_are_hosts(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["a.example", ".a.example", "192.0.2.1", "[2001:db8::1]", "*"]
    assert checks.check_host_names(None) == []


def test_a_redirect_that_would_go_in_circles_is_a_warning(settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert ids(checks.check_proxy(None)) == ["classifier.W002"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert checks.check_proxy(None) == []


@pytest.mark.parametrize("name", ["URL_FETCHING_ALLOWED_HOSTS", "URL_FETCHING_PRIVATE_HOSTS"])
def test_a_host_to_fetch_from_that_is_none_is_an_error(settings: Settings, name: str) -> None:
    setattr(settings, name, ["a.example", "http://b.example/", ".c.example", "*.d.example"])
    messages = checks.check_fetching_hosts(None)
    assert ids(messages) == ["classifier.E030", "classifier.E030"]
    assert messages[0].msg.startswith(name)
    assert "'http://b.example/'" in messages[0].msg


@pytest.mark.parametrize("token", ["short", "long-enough-\u00fc-but-not-ascii"])
def test_a_metrics_token_that_can_be_guessed_is_an_error(settings: Settings, token: str) -> None:
    settings.METRICS_TOKEN = token
    messages = checks.check_metrics_token(None)
    assert ids(messages) == ["classifier.E031"]
    assert token not in messages[0].msg
    settings.METRICS_TOKEN = "x" * 20
    assert checks.check_metrics_token(None) == []
