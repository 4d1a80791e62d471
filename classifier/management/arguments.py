"""What people name on the command line, looked up; a CommandError with exit code 2 if not there."""

import os
import re
from argparse import ArgumentParser
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError

from classifier.models import ModelVersion, RegisteredModel

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def add_who_and_why(parser: ArgumentParser) -> None:
    """Add --by and --reason, which go into the record of activations."""
    parser.add_argument(
        "--by", metavar="USERNAME", help="Who is switching. Default: nobody by name."
    )
    parser.add_argument("--reason", default="", help="Why, for those who look it up later.")


def add_override(parser: ArgumentParser) -> None:
    """Add --override-gate, for a version that the activation gate refuses."""
    parser.add_argument(
        "--override-gate",
        action="store_true",
        help="Activate it although the activation gate refuses; needs --reason. Both are recorded, "
        "with what the gate said. Who is named with --by, where there is that option, needs the "
        "permission to override.",
    )


def model_named(name: str) -> RegisteredModel:
    model = RegisteredModel.objects.filter(name=name).first()
    if model is None:
        known = ", ".join(RegisteredModel.objects.values_list("name", flat=True)) or "none"
        sentence = f"Expected the name of a registered model (there are: {known}). "
        raise CommandError(f"{sentence}Received: {name!r}", returncode=2)
    return model


def version_numbered(model: RegisteredModel, number: str | None) -> ModelVersion:
    """Return the version "3" or "v3" of the model; without a number the newest not archived."""
    versions = model.versions.select_related("model")
    if number is None:
        newest = versions.servable().order_by("-number").first()
        if newest is None:
            raise CommandError(f"{model} has no version that could be activated.", returncode=2)
        return newest
    match = re.fullmatch(r"v?([0-9]{1,9})", number)
    version = versions.filter(number=int(match[1])).first() if match else None
    if version is None:
        numbers = versions.order_by("number").values_list("number", flat=True)
        known = ", ".join(map(str, numbers)) or "none"
        sentence = f"Expected the number of a version of {model.name} (there are: {known}). "
        raise CommandError(f"{sentence}Received: {number!r}", returncode=2)
    return version


def active_version(model: RegisteredModel) -> ModelVersion:
    version = model.active_version
    if version is None:
        sentence = f"{model} has no active version. manage.py activate_model activates one."
        raise CommandError(sentence, returncode=2)
    return version


def version_named(text: str) -> ModelVersion:
    """Return the version that "cifar10:2" names, the active one for "cifar10" alone."""
    name, colon, number = text.partition(":")
    model = model_named(name)
    return version_numbered(model, number) if colon else active_version(model)


def user_named(username: str | None) -> "User | None":
    if username is None:
        return None
    users = get_user_model().objects.filter(username=username, is_active=True)
    user = users.first()
    if user is None:
        sentence = "Expected the username of an active account after --by. "
        raise CommandError(f"{sentence}Received: {username!r}", returncode=2)
    return user
