"""System checks: what of the configuration is missing or nonsense, said at start with a remedy."""

import inspect
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from classifier import bundle_storage, storage
from classifier.bundles import BundleError
from classifier.fetching import HostRule
from classifier.runtimes.base import Runtime

# A name, a name with all below it (.example.org), an address; "*" alone stands for all.
HOST_PATTERN = re.compile(r"\*|\.?[^\s/:*@\[\]]+|\[[0-9A-Fa-f:.]+\]")
METRICS_TOKEN_MIN_LENGTH = 20
WILDCARD_HOSTS = {"0.0.0.0", "::", "[::]"}  # noqa: S104
# Packages that some runtime needs; each is an extra of the same name in pyproject.toml.
RUNTIME_EXTRAS = frozenset({"openvino"})


@register(Tags.security)
def check_cloudinary(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Cloudinary is configured wholly and without contradiction, or not at all."""
    if not (problem := settings.CLOUDINARY_ACCOUNT.problem):
        return []
    hint = (
        "Set CLOUD_NAME, API_KEY and API_SECRET, or CLOUDINARY_URL alone, "
        "or none of them to keep pictures here."
    )
    return [Error(f"Cloudinary is half configured: {problem}", hint=hint, id="classifier.E001")]


@register(Tags.files)
def check_cloud_options(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """What a CLOUDINARY_URL says after its question mark is something the storage knows."""
    if not storage.cloud_is_configured():
        return []
    try:
        storage.cloud()
    except (ImproperlyConfigured, TypeError) as exc:
        hint = "Leave out of CLOUDINARY_URL, after the question mark, what is not understood."
        return [Error(f"The cloud's options: {exc}", hint=hint, id="classifier.E004")]
    return []


@register(Tags.files)
def check_folders(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """The folders that pictures and bundles are written to can be written to."""
    return [
        Error(
            f"{name} is not a folder that can be written to: {path}",
            hint=f"Create it for the user who runs ClassifyMe, or set {name} to another folder.",
            id="classifier.E002",
        )
        for name in ("MEDIA_ROOT", _folder_of_bundles())
        if not _can_be_written(path := Path(getattr(settings, name)))
    ]


def _folder_of_bundles() -> str:
    """The setting that names the folder of this machine that bundles are written to."""
    try:
        return "BUNDLES_ROOT" if bundle_storage.is_local() else "BUNDLE_CACHE"
    except BundleError:  # which check_bundle_storage explains
        return "BUNDLES_ROOT"


@register(Tags.files)
def check_bundle_storage(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Registered bundles have a storage that can be made with the options given."""
    try:
        bundle_storage.storage()
    except BundleError as error:
        hint = (
            "Set BUNDLES_STORAGE to the dotted path of a Django storage whose package is installed "
            "and BUNDLES_STORAGE_OPTIONS to its options in JSON, or leave both out."
        )
        return [Error(str(error), hint=hint, id="classifier.E020")]
    return []


@register(Tags.files)
def check_bundle_cache(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """What is fetched to BUNDLE_CACHE is not taken for what is kept in BUNDLES_ROOT."""
    if _folder_of_bundles() == "BUNDLES_ROOT":
        return []
    cache, kept = Path(settings.BUNDLE_CACHE), Path(settings.BUNDLES_ROOT)
    if cache != kept:
        return []
    hint = "Give BUNDLE_CACHE a folder of its own: what is not used there is deleted."
    message = f"BUNDLE_CACHE and BUNDLES_ROOT are the same folder: {cache}"
    return [Error(message, hint=hint, id="classifier.E021")]


def _can_be_written(path: Path) -> bool:
    """Whether the folder, or else its nearest parent that exists, may be written to."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


@register()
def check_runtime(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """RUNTIME_BACKEND names a class that is a Runtime, whose package is installed."""
    backend = settings.RUNTIME["BACKEND"]
    hint = "Set RUNTIME_BACKEND to a runtime's dotted path, or leave it out."
    try:
        runtime = import_string(backend)
    except ImportError as exc:
        if exc.name in RUNTIME_EXTRAS:
            hint = (
                f"Install the extra `{exc.name}` into the environment that serves "
                f"(make run EXTRAS={exc.name}), or leave RUNTIME_BACKEND out."
            )
        message = f"RUNTIME_BACKEND cannot be imported: {exc}"
        return [Error(message, hint=hint, id="classifier.E003")]
    if isinstance(runtime, type) and issubclass(runtime, Runtime):
        return _check_runtime_options(runtime)
    return [Error(f"RUNTIME_BACKEND is no Runtime: {backend}", hint=hint, id="classifier.E003")]


def _check_runtime_options(runtime: type[Runtime]) -> list[CheckMessage]:
    """RUNTIME_OPTIONS has options that the runtime takes."""
    taken = inspect.signature(runtime).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken.values()):
        return []
    known = [name for name in taken if name != "model_path"]
    if not (unknown := [name for name in settings.RUNTIME["OPTIONS"] if name not in known]):
        return []
    message = f"RUNTIME_OPTIONS does not suit {runtime.__name__}: {', '.join(unknown)}"
    hint = f"Leave that out. {runtime.__name__} takes {', '.join(known) or 'no options'}."
    return [Error(message, hint=hint, id="classifier.E008")]


@register(Tags.security)
def check_hosts(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """A server that listens to everybody knows a name by which others reach it."""
    local = {"localhost", "127.0.0.1", "[::1]"}
    if settings.HOST not in WILDCARD_HOSTS or set(settings.ALLOWED_HOSTS) - local - WILDCARD_HOSTS:
        return []
    return [
        Warning(
            "HOST lets other machines in, but ALLOWED_HOSTS has no name they could use.",
            hint="Add this machine's name or address to ALLOWED_HOSTS.",
            id="classifier.W001",
        )
    ]


@register(Tags.security)
def check_host_names(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """ALLOWED_HOSTS has names and addresses only: nothing else is ever what a browser asks for."""
    return [
        Error(
            f"ALLOWED_HOSTS must be names and addresses without scheme, port, path or blanks. "
            f"Received: {host!r}",
            hint="Separate them by commas: classify.example.org,192.0.2.1,[2001:db8::1]",
            id="classifier.E005",
        )
        for host in settings.ALLOWED_HOSTS
        if not HOST_PATTERN.fullmatch(host)
    ]


@register(Tags.security)
def check_proxy(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """A redirect to https without a way to see that a request came by https goes in circles."""
    if not settings.SECURE_SSL_REDIRECT or settings.SECURE_PROXY_SSL_HEADER:
        return []
    return [
        Warning(
            "Requests are redirected to https, but no proxy's X-Forwarded-Proto is trusted: "
            "behind a proxy that ends TLS every request is redirected for ever.",
            hint="Set TRUST_PROXY=true if the proxy sets X-Forwarded-Proto itself.",
            id="classifier.W002",
        )
    ]


@register(Tags.security)
def check_fetching_hosts(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """The hosts that pictures may be fetched from are written so that they are understood."""
    return [
        Error(
            f"{name}: {problem}",
            hint="Separate them by commas: images.example.org,.example.com,cdn.example.net:8443",
            id="classifier.E030",
        )
        for name in ("URL_FETCHING_ALLOWED_HOSTS", "URL_FETCHING_PRIVATE_HOSTS")
        for host in getattr(settings, name)
        if (problem := _problem_of_rule(host))
    ]


def _problem_of_rule(host: str) -> str:
    try:
        HostRule.parse(host)
    except ValueError as exc:
        return str(exc)
    return ""


@register(Tags.security)
def check_metrics_token(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """METRICS_TOKEN is nothing that can be guessed, and can stand in a header."""
    token = settings.METRICS_TOKEN
    if not token or (len(token) >= METRICS_TOKEN_MIN_LENGTH and token.isascii()):
        return []
    return [
        Error(
            f"METRICS_TOKEN must have {METRICS_TOKEN_MIN_LENGTH} ASCII characters or more.",
            hint="Take a random one: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            id="classifier.E031",
        )
    ]
