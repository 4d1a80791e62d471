"""How a setting is read from the environment: typed, bounded, loud about nonsense.

django-environ takes any word for a boolean (``DEBUG=maybe`` is False to it) and any number for
a port. Here a value that is not what was asked for stops the start with the variable's name.
An empty variable counts as one that is not set, so that ``NAME=`` may stand in a ``.env``.
"""

import io
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off"})
SECONDS_IN = {"s": 1, "min": 60, "h": 3600, "day": 86_400}
# The lines that django-environ takes; of others it only warns, and repeats them.
ASSIGNMENT = re.compile(r"(?:export )?[A-Za-z_0-9]+=.*")
CLOUDINARY_OPTIONS = frozenset(
    {"cname", "private_cdn", "secure", "secure_distribution", "type", "upload_prefix"}
)


class Environment:
    """The process's environment, after ``.env``; remembers which names were asked for."""

    def __init__(self, env_file: Path | None) -> None:
        self._env = environ.Env()
        self.names: set[str] = set()
        if env_file is not None:
            environ.Env.read_env(io.StringIO(_assignments(env_file)))

    def text(self, name: str, default: str = "") -> str:
        """The variable's text without surrounding blanks; ``default`` when unset or empty."""
        self.names.add(name)
        return str(self._env.str(name, default="")).strip() or default

    def boolean(self, name: str, *, default: bool) -> bool:
        word = self.text(name).lower()
        if not word:
            return default
        if word not in TRUE_WORDS | FALSE_WORDS:
            raise nonsense(name, "true or false", word)
        return word in TRUE_WORDS

    def integer(self, name: str, default: int, *, minimum: int, maximum: int) -> int:
        return self._number(name, default, int, minimum, maximum)

    def decimal(self, name: str, default: float, *, minimum: float, maximum: float) -> float:
        return self._number(name, default, float, minimum, maximum)

    def _number[N: (int, float)](
        self, name: str, default: N, kind: Callable[[str], N], minimum: N, maximum: N
    ) -> N:
        text = self.text(name)
        if not text:
            return default
        expected = f"a number from {minimum} to {maximum}"
        try:
            number = kind(text)
        except ValueError as exc:
            raise nonsense(name, expected, text) from exc
        if not minimum <= number <= maximum:
            raise nonsense(name, expected, text)
        return number

    def rate(self, name: str, default: str = "off") -> tuple[int, int] | None:
        """So many in so many seconds, from text such as ``60/min``; None for ``off``."""
        text = self.text(name, default)
        if text.lower() == "off":
            return None
        count, _, unit = text.partition("/")
        seconds = SECONDS_IN.get(unit.strip().lower())
        count = count.strip()
        if seconds is None or not re.fullmatch(r"[1-9][0-9]{0,6}", count, re.ASCII):
            raise nonsense(
                name,
                "a number from 1 to 9999999 per s, min, h or day, such as 60/min, or off",
                text,
            )
        return int(count), seconds

    def words(self, name: str, default: Iterable[str] = ()) -> list[str]:
        """A comma-separated list; blanks around each word are dropped."""
        text = self.text(name)
        return [word.strip() for word in text.split(",") if word.strip()] or list(default)

    def choice(self, name: str, default: str, choices: Iterable[str]) -> str:
        word = self.text(name, default)
        if word not in (allowed := tuple(choices)):
            raise nonsense(name, " or ".join(allowed), word)
        return word

    def options(self, name: str) -> dict[str, Any]:
        """A JSON object; empty when unset. Nonsense is not repeated: it may hold a secret."""
        text = self.text(name)
        if not text:
            return {}
        try:
            options = json.loads(text)
        except ValueError:
            options = None
        if not isinstance(options, dict):
            expected = 'a JSON object such as {"name": "value"}'
            raise ImproperlyConfigured(f"{name} must be {expected}. Received: something else")
        return options

    def path(self, name: str, default: Path, *, base: Path) -> Path:
        """An absolute path; a relative one is taken from ``base``."""
        return (base / self.text(name, str(default))).resolve()

    def database(self, name: str, *, base: Path) -> dict[str, Any]:
        """A Django database setting; SQLite at ``base``/var/db.sqlite3 when unset."""
        url = self.text(name, f"sqlite:///{base / 'var' / 'db.sqlite3'}")
        # The URL holds a password, so only its scheme is repeated.
        scheme = url.partition(":")[0].lower() if "://" in url else "no URL"
        if scheme not in {"sqlite", "postgres", "postgresql"}:
            raise nonsense(name, "sqlite:///PATH or postgres://USER:PASSWORD@HOST/NAME", scheme)
        try:
            config: dict[str, Any] = environ.Env.db_url_config(url)
        except ValueError:
            # A slash in a password makes a port of what stands before it: no word of that either.
            expected = (
                f"{scheme}://USER:PASSWORD@HOST:PORT/NAME with a number for PORT and the "
                "password's special characters percent-encoded"
            )
            raise nonsense(name, expected, f"{scheme}://...") from None
        if url.startswith("sqlite") and config["NAME"] != ":memory:":
            config["NAME"] = str((base / config["NAME"]).resolve())
        return config


def _assignments(env_file: Path) -> str:
    """The lines of the file, which may be absent, that set a variable.

    Raises:
        ImproperlyConfigured: it cannot be read, or a line says something else. That line is
            not repeated: it may hold a secret.
    """
    try:
        text = env_file.read_text("utf-8")
    except (FileNotFoundError, IsADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise ImproperlyConfigured(f"{env_file} cannot be read: {reason}.") from None
    spoken = {
        number: line
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    }
    for number, line in spoken.items():
        if not ASSIGNMENT.fullmatch(line):
            raise ImproperlyConfigured(
                f"{env_file}, line {number}, must be NAME=value without blanks around the name, "
                "or a comment that begins with #."
            )
    return "\n".join(spoken.values())


def nonsense(name: str, expected: str, received: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} must be {expected}. Received: {received!r}")


@dataclass(frozen=True)
class CloudinaryAccount:
    """Where uploads go when Cloudinary is configured, or what is wrong with what was given."""

    cloud_name: str = ""
    api_key: str = ""
    api_secret: str = field(default="", repr=False)
    options: dict[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def configured(self) -> bool:
        return bool(self.cloud_name and self.api_key and self.api_secret) and not self.problem

    @property
    def delivery_origin(self) -> str:
        """The scheme and host that the account's pictures are delivered from."""
        private = self.options.get("private_cdn", "").lower() in TRUE_WORDS
        host = f"{self.cloud_name}-res.cloudinary.com" if private else "res.cloudinary.com"
        if self.options.get("secure", "").lower() in FALSE_WORDS:
            return f"http://{self.options.get('cname', host)}"
        return f"https://{self.options.get('secure_distribution', host)}"


def cloudinary_account(env: Environment) -> CloudinaryAccount:
    """The account from CLOUD_NAME, API_KEY and API_SECRET, or from CLOUDINARY_URL.

    The three names win. Both may be given as long as they say the same; an account that is
    half given or contradicts itself comes back with its ``problem`` and stays unconfigured, and
    a system check (``classifier.E001``) stops the start.
    """
    parts = {
        "CLOUD_NAME": env.text("CLOUD_NAME"),
        "API_KEY": env.text("API_KEY"),
        "API_SECRET": env.text("API_SECRET"),
    }
    url = env.text("CLOUDINARY_URL")
    by_url = _account_from_url(url) if url else None
    if by_url and (by_url.problem or not any(parts.values())):
        return by_url
    if not any(parts.values()):
        return CloudinaryAccount()
    if missing := [name for name, value in parts.items() if not value]:
        return CloudinaryAccount(problem=f"{' and '.join(missing)} missing beside the others.")
    options = by_url.options if by_url else {}
    by_parts = CloudinaryAccount(
        parts["CLOUD_NAME"], parts["API_KEY"], parts["API_SECRET"], options
    )
    if by_url and by_url != by_parts:
        return CloudinaryAccount(
            problem="CLOUDINARY_URL says something else than CLOUD_NAME, API_KEY and API_SECRET."
        )
    return by_parts


def _account_from_url(url: str) -> CloudinaryAccount:
    parsed = urlsplit(url)
    name, key, secret = parsed.hostname or "", parsed.username or "", parsed.password or ""
    if parsed.scheme != "cloudinary" or not (name and key and secret):
        return CloudinaryAccount(
            problem="CLOUDINARY_URL must look like cloudinary://API_KEY:API_SECRET@CLOUD_NAME."
        )
    # urlsplit lower-cases the host; a cloud's name keeps its case.
    name = unquote(parsed.netloc.rpartition("@")[2])
    options = {key: values[-1] for key, values in parse_qs(parsed.query).items()}
    if unknown := sorted(set(options) - CLOUDINARY_OPTIONS):
        return CloudinaryAccount(problem=f"CLOUDINARY_URL has unknown options: {unknown}.")
    return CloudinaryAccount(name, unquote(key), unquote(secret), options)
