"""What stands in the files that a deployment is made of."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text("utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
SECRETS = r"(?:SECRET|PASSWORD|API_KEY|TOKEN|CLOUDINARY_URL)"


def services() -> dict[str, str]:
    """The text of every service, by name; our file is plain enough to be cut by indentation."""
    text = COMPOSE.partition("\nservices:\n")[2].partition("\nvolumes:\n")[0]
    parts = re.split(r"^  (\w+):\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_compose_brings_up_web_worker_and_postgresql() -> None:
    assert set(services()) == {"prepare", "web", "worker", "trainer", "db"}
    # TensorFlow is a gigabyte that serving does without.
    assert 'profiles: ["training"]' in services()["trainer"]
    assert "image: postgres:" in services()["db"]


def test_no_secret_stands_in_compose() -> None:
    assigned = re.findall(rf"^\s+\w*{SECRETS}\w*:\s*(.+)$", COMPOSE, re.MULTILINE)
    assert len(assigned) >= 2
    for value in assigned:
        assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), value
    for password in re.findall(r"://\w+:(.+?)@", COMPOSE):
        assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", password), password


def test_no_secret_stands_in_the_image() -> None:
    for name, value in re.findall(rf"(\w*{SECRETS}\w*)=(\S+)", DOCKERFILE):
        assert (name, value) == ("SECRET_KEY", "unused-while-building")
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert {".env", ".git", "var"} <= set(ignored)


@pytest.mark.parametrize("service", ["worker", "trainer", "db"])
def test_a_service_says_how_its_health_is_seen(service: str) -> None:
    assert "healthcheck:\n      test:" in services()[service]


def test_the_web_image_has_its_own_health_check() -> None:
    web = DOCKERFILE.partition("AS web\n")[2].partition("AS training\n")[0]
    assert "scripts/healthcheck.py" in web
    assert "healthcheck" not in services()["web"]


@pytest.mark.parametrize("target", ["web", "training"])
def test_no_image_runs_as_root(target: str) -> None:
    stage = re.split(r"^FROM ", DOCKERFILE.partition(f"AS {target}\n")[2], flags=re.MULTILINE)[0]
    users = re.findall(r"^USER (\d+):(\d+)$", stage, re.MULTILINE)
    assert users
    assert all(int(user) > 0 and int(group) > 0 for user, group in users)


def test_what_serves_does_not_depend_on_what_learns() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    lock = tomllib.loads((ROOT / "poetry.lock").read_text("utf-8"))
    assert project["project"]["dependencies"]
    served = {package["name"] for package in lock["package"] if "main" in package["groups"]}
    assert "django" in served
    assert not served & {"keras", "tensorflow", "jax", "torch", "tf2onnx", "matplotlib"}


def test_what_is_built_is_kept_out_of_git() -> None:
    ignored = set((ROOT / ".gitignore").read_text("utf-8").splitlines())
    assert {".env", ".venv/", ".venv-training/", ".poetry/", "var/"} <= ignored
