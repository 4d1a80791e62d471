"""The settings file as a process meets it: in an interpreter of its own, with its own variables."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRINT = """
import json
from classifyme import settings
print(json.dumps({k: getattr(settings, k) for k in dir(settings) if k.isupper()}, default=str))
"""


def start(code: str = PRINT, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k in {"HOME", "LANG", "PATH"}}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env=kept | {"ENV_FILE": "", "DJANGO_SETTINGS_MODULE": "classifyme.settings"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def settings_of(**variables: str) -> dict[str, Any]:
    result = start(**({"SECRET_KEY": "k"} | variables))
    assert result.returncode == 0, result.stderr
    loaded: dict[str, Any] = json.loads(result.stdout)
    return loaded


def test_a_missing_secret_key_stops_the_start_and_names_the_remedy() -> None:
    result = start()
    assert result.returncode != 0
    assert "SECRET_KEY is missing. `make run` writes a .env" in result.stderr


def test_the_defaults_suit_plain_http_on_this_machine() -> None:
    settings = settings_of()
    assert settings["DEBUG"] is False
    assert {"localhost", "127.0.0.1", "[::1]"} <= set(settings["ALLOWED_HOSTS"])
    assert not settings["SESSION_COOKIE_SECURE"]
    assert not settings["SECURE_SSL_REDIRECT"]
    assert settings["SECURE_HSTS_SECONDS"] == 0
    assert settings["SECURE_PROXY_SSL_HEADER"] is None
    assert "cloud" not in settings["STORAGES"]


def test_https_is_one_switch() -> None:
    settings = settings_of(HTTPS="true", TRUST_PROXY="true")
    assert settings["SESSION_COOKIE_SECURE"]
    assert settings["CSRF_COOKIE_SECURE"]
    assert settings["SECURE_SSL_REDIRECT"]
    assert settings["SECURE_HSTS_SECONDS"] > 0
    assert settings["SECURE_PROXY_SSL_HEADER"] == ["HTTP_X_FORWARDED_PROTO", "https"]


def test_the_host_it_listens_on_is_allowed() -> None:
    assert "[::1]" in settings_of(HOST="::1", ALLOWED_HOSTS="a.example.org")["ALLOWED_HOSTS"]


def test_a_database_url_switches_to_postgresql() -> None:
    database = settings_of(DATABASE_URL="postgres://u:p@h:5432/n")["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.postgresql"
    assert "transaction_mode" not in database.get("OPTIONS", {})


def test_bundles_are_kept_in_their_folder_or_in_the_storage_that_is_named() -> None:
    kept = settings_of()["STORAGES"]["bundles"]
    assert kept == {"BACKEND": "classifier.bundle_storage.BundlesFolder", "OPTIONS": {}}
    far = settings_of(
        BUNDLES_STORAGE="storages.backends.s3.S3Storage",
        BUNDLES_STORAGE_OPTIONS='{"bucket_name": "models"}',
    )["STORAGES"]["bundles"]
    assert far["BACKEND"] == "storages.backends.s3.S3Storage"
    assert far["OPTIONS"] == {"bucket_name": "models"}


def test_cloudinary_brings_its_storage_and_its_host_into_the_policy() -> None:
    settings = settings_of(CLOUDINARY_URL="cloudinary://1:s@demo")
    assert settings["STORAGES"]["cloud"]["OPTIONS"]["cloud_name"] == "demo"
    assert "https://res.cloudinary.com" in settings["SECURE_CSP"]["img-src"]


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere() -> None:
    policy = settings_of()["SECURE_CSP"]
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == ["'self'"]
    assert policy["img-src"] == ["'self'", "data:", "blob:"]
    assert "unsafe" not in json.dumps(policy)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "perhaps"),
        ("PORT", "http"),
        ("IMAGE_MAX_BYTES", "20MB"),
        ("IMAGE_MAX_PIXELS", "-1"),
        ("RUNTIME_THREADS", "0"),
        ("ACTIVE_VERSION_POLL_SECONDS", "often"),
        ("BUNDLES_STORAGE_OPTIONS", "bucket"),
        ("SERVING_EXTRA_VERSIONS", "-1"),
        ("DATABASE_URL", "var/db.sqlite3"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("URL_FETCHING", "sometimes"),
        ("URL_FETCHING_SECONDS", "0"),
        ("REVIEW_RANDOM_SHARE", "2"),
    ],
)
def test_nonsense_stops_the_start_and_names_the_variable(name: str, value: str) -> None:
    result = start(SECRET_KEY="k", **{name: value})
    assert result.returncode != 0
    assert f"ImproperlyConfigured: {name} must be " in result.stderr


def test_the_example_explains_exactly_the_variables_that_are_read() -> None:
    code = """
import json
import classifyme.gunicorn
from classifyme.settings import env
print(json.dumps(sorted(env.names | {"ENV_FILE"})))
"""
    result = start(code, SECRET_KEY="k")
    assert result.returncode == 0, result.stderr
    example = (ROOT / ".env.example").read_text("utf-8")
    explained = re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)
    assert sorted(explained) == json.loads(result.stdout)


def test_the_example_is_a_valid_env_file(tmp_path: Path) -> None:
    copy = tmp_path / "env"
    text = (ROOT / ".env.example").read_text("utf-8")
    uncommented = re.sub(r"^#([A-Z_]+=)", r"\1", text, flags=re.MULTILINE)
    copy.write_text(uncommented.replace("SECRET_KEY=\n", "SECRET_KEY=k\n"))
    settings = settings_of(ENV_FILE=str(copy))
    assert settings["PORT"] == 8000
    assert settings["IMAGE_MAX_BYTES"] == 20_000_000


def test_a_command_says_what_is_misconfigured_in_one_sentence() -> None:
    command = subprocess.run(
        [sys.executable, "manage.py", "train", "cifar10_fast"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "ENV_FILE": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert command.returncode == 2
    assert command.stderr.startswith("SECRET_KEY is missing.")
    assert "Traceback" not in command.stderr
