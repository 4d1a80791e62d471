"""The use cases of the registry: register, activate, roll back, archive.

A version is proven before it may be registered or activated, and activated only past the gate of
its model (`gate`) or over it. Proving and copying stay outside transactions; each switch is one
conditional UPDATE whose row count is checked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from classifier import bundle_storage, gate, serving
from classifier.bundles import Bundle, BundleError, Manifest
from classifier.models import Activation, Label, ModelVersion, RegisteredModel

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

SHIPPED = Path(__file__).resolve().parent / "pretrained"
# Beside the bundles of a shipped model: the name of the one to be active at first start.
ACTIVE_AT_FIRST = "active"

_ATTEMPTS = 10
_LONGEST_REASON = 500  # characters


class RegistryError(Exception):
    """The registry refused: `code` says why, `str()` is a sentence for a person.

    Codes are those of `bundles.Fault` for a bundle that is not as it must be or a storage that
    fails, and disk, label_mismatch, busy, archived, is_active, gate, may_not_override,
    switched_meanwhile, nothing_before, reason_missing, reason_too_long and shipped_unclear.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class GateRefused(RegistryError):
    """The version does not hold what its model's policy asks for; `verdict` has every rule."""

    def __init__(self, verdict: gate.Verdict) -> None:
        super().__init__("gate", str(verdict))
        self.verdict = verdict


def register(
    bundle_path: Path,
    *,
    activate: bool = False,
    by: User | None = None,
    reason: str = "",
    override: bool = False,
) -> ModelVersion:
    """Return the version made of the bundle in this folder: verified, proven, kept.

    The same bundle a second time is verified too, gives the version that there is and changes
    nothing (files that went missing are put back). The first registered model becomes the default
    one. `activate` and `override` are as in `activate`; a version that the gate refuses stays
    registered. Raises RegistryError.
    """
    check_why(by, reason, override=override)
    bundle = _open(Path(bundle_path))
    with _faults_as_refusals():
        bundle.verify()
    version = _registered(bundle)
    proven = version is None or not _is_kept(bundle)
    if version is None:
        _check_labels(bundle.manifest)
    if proven:
        _keep(bundle)
    version = version or _enter(bundle, by)
    if activate:
        _activate(version, by=by, reason=reason, proven=proven, override=override)
    return version


def check_why(by: User | None, reason: str, *, override: bool) -> None:
    """Raise RegistryError for what `register` would refuse of who and why, before long work."""
    _check_reason(reason)
    if override:
        _check_override(by, reason)


def register_shipped(root: Path = SHIPPED) -> list[ModelVersion]:
    """Register every bundle in root/<model>/<bundle>/ and return their versions.

    Of each model that has no active version yet, the bundle that the text file
    root/<model>/active names is activated; without that file, the only bundle. What is registered
    already is not proven again. Raises RegistryError.
    """
    versions: list[ModelVersion] = []
    for folder in _folders(root):
        by_name = {path.name: register(path) for path in _folders(folder)}
        versions += by_name.values()
        if by_name and not any(version.model.active_version_id for version in by_name.values()):
            first = by_name[_active_at_first(folder, list(by_name))]
            # A fresh installation has to serve; what the gate says of it is recorded all the same.
            reason = "Shipped with ClassifyMe"
            _activate(first, by=None, reason=reason, proven=True, override=True)
    return versions


def activate(
    version: ModelVersion, *, by: User | None, reason: str, override: bool = False
) -> Activation:
    """Let the version past the gate, prove it, make it active; return the activation.

    Activating what is active already changes nothing and returns the activation of then. With
    `override` the gate is asked and its refusal recorded, but not followed: for a person who has
    the permission, or for who has the command line, and with a reason. Raises GateRefused, and
    RegistryError: the version is archived, does not prove itself, or somebody switched meanwhile.
    """
    if override:
        _check_override(by, reason)
    return _activate(version, by=by, reason=reason, override=override)


def rollback(model: RegisteredModel, *, by: User | None, reason: str) -> Activation:
    """Go back to the version that `rollback_target` names; return the activation.

    The gate is not asked: what served before may serve again, above all when something is wrong.
    Raises RegistryError as `activate` does, and if there is nothing to go back to.
    """
    _check_reason(reason)
    model.refresh_from_db()
    target = rollback_target(model)
    if target is None:
        raise RegistryError("nothing_before", f"{model} has no earlier version to go back to.")
    _prove(target)
    return _switch(target, model.active_version_id, by=by, reason=reason)


def rollback_target(model: RegisteredModel) -> ModelVersion | None:
    """Return the version that a rollback would go back to, or None.

    The rule is that of an editor's undo. Activations lay a path; a rollback takes its last step
    back, so that repeated rollbacks walk further back instead of to and fro; the next activation
    goes on from there. After activating 1, 2, 3: rollbacks lead to 2, then 1, then nowhere.
    Archived versions are stepped over.
    """
    path = _path(model)
    servable = set(model.versions.servable().values_list("pk", flat=True))
    for version_id in reversed(path[:-1]):
        if version_id in servable and version_id != path[-1]:
            return ModelVersion.objects.select_related("model").get(pk=version_id)
    return None


def archive(version: ModelVersion) -> None:
    """Take a version out of the choice; RegistryError if it is the active one."""
    with transaction.atomic():
        model = RegisteredModel.objects.select_for_update().get(pk=version.model_id)
        if model.active_version_id == version.pk:
            sentence = f"{version} is active. Activate another version before you archive it."
            raise RegistryError("is_active", sentence)
        ModelVersion.objects.servable().filter(pk=version.pk).update(archived_at=timezone.now())
    version.refresh_from_db(fields=["archived_at"])


def unarchive(version: ModelVersion) -> None:
    """Let an archived version be chosen again."""
    ModelVersion.objects.filter(pk=version.pk).update(archived_at=None)
    version.archived_at = None


@contextmanager
def _faults_as_refusals() -> Iterator[None]:
    try:
        yield
    except BundleError as exc:
        raise RegistryError(exc.code, exc.message) from exc
    except OSError as exc:
        sentence = f"The bundle's files cannot be read or kept: {exc.strerror or exc}"
        raise RegistryError("disk", sentence) from exc


def _open(path: Path) -> Bundle:
    with _faults_as_refusals():
        return Bundle.open(path)


def _registered(bundle: Bundle) -> ModelVersion | None:
    versions = ModelVersion.objects.with_digest(bundle.digest).select_related("model")
    return versions.filter(model__name=bundle.manifest.name).first()


def _is_kept(bundle: Bundle) -> bool:
    """Whether all files are kept in their sizes; activation checks the digests."""
    with _faults_as_refusals():
        return bundle_storage.is_kept(bundle)


def _keep(bundle: Bundle) -> None:
    """Copy the verified bundle, prove the copy, keep it."""
    with _faults_as_refusals():
        bundle_storage.keep(bundle, serving.prove)


def _enter(bundle: Bundle, by: User | None) -> ModelVersion:
    """Make the rows; whoever loses a race for a name or a number tries again."""
    for _ in range(_ATTEMPTS):
        try:
            with transaction.atomic():
                return _registered(bundle) or _insert(bundle, by)
        except IntegrityError:
            logger.info("Lost a race while registering %s; trying again.", bundle.manifest.name)
    sentence = "Others are registering versions at the same time. Try again in a moment."
    raise RegistryError("busy", sentence)


def _insert(bundle: Bundle, by: User | None) -> ModelVersion:
    manifest = bundle.manifest
    has_default = RegisteredModel.objects.filter(is_default=True).exists()
    RegisteredModel.objects.get_or_create(
        name=manifest.name, defaults={"title": manifest.title, "is_default": not has_default}
    )
    # Locked, so that versions of one model are numbered one after the other.
    model = RegisteredModel.objects.select_for_update().get(name=manifest.name)
    # Once more, now that the model is locked: somebody may have entered others since.
    _check_labels(manifest)
    _enter_labels(model, manifest)
    last = model.versions.aggregate(last=Max("number"))["last"] or 0
    return ModelVersion.objects.create(
        model=model,
        number=last + 1,
        bundle_digest=bundle.digest,
        manifest=manifest.to_json(),
        architecture=manifest.architecture,
        registered_by=by,
    )


def _enter_labels(model: RegisteredModel, manifest: Manifest) -> None:
    if not model.labels.exists():
        Label.objects.bulk_create(
            Label(model=model, key=label.key, name=label.name) for label in manifest.labels
        )


def _check_labels(manifest: Manifest) -> None:
    """Raise RegistryError unless the model is new or has the same label keys, in any order."""
    model = RegisteredModel.objects.filter(name=manifest.name).first()
    known = set(model.labels.values_list("key", flat=True)) if model else set()
    keys = set(manifest.label_keys())
    if known and known != keys:
        without = f"; without {_some(known - keys)}" if known - keys else ""
        beyond = f"; beyond them {_some(keys - known)}" if keys - known else ""
        sentence = f"Expected the labels of {model}: {_some(known)}. Received: {_some(keys)}"
        raise RegistryError("label_mismatch", f"{sentence}{without}{beyond}")


def _some(keys: set[str], most: int = 12) -> str:
    shown = ", ".join(sorted(keys)[:most])
    return f"{shown} and {len(keys) - most} more" if len(keys) > most else shown


def _activate(
    version: ModelVersion,
    *,
    by: User | None,
    reason: str,
    proven: bool = False,
    override: bool = False,
) -> Activation:
    _check_reason(reason)
    version.model.refresh_from_db()
    version.refresh_from_db(fields=["archived_at"])
    seen = version.model.active_version_id
    if seen == version.pk and (then := version.activations.first()) is not None:
        return then
    _check_servable(version)
    verdict = gate.verdict_on(version)
    if not verdict.passes and not override:
        raise GateRefused(verdict)
    if not proven:
        _prove(version)
    return _switch(version, seen, by=by, reason=reason, verdict=verdict)


def _prove(version: ModelVersion) -> None:
    """Verify and prove the kept copy in this process; RegistryError if it is not as it must be."""
    with _faults_as_refusals():
        serving.prove(version.fetch_bundle())


def _switch(
    version: ModelVersion,
    seen: UUID | None,
    *,
    by: User | None,
    reason: str,
    verdict: gate.Verdict | None = None,
) -> Activation:
    """Make `version` active where `seen` still is, and write down that it was.

    Without a verdict it is a rollback, which no gate was asked about.
    """
    with transaction.atomic():
        models = RegisteredModel.objects.filter(pk=version.model_id, active_version=seen)
        if models.update(active_version=version) != 1:
            sentence = f"Somebody switched {version.model} meanwhile. Look again, then try again."
            raise RegistryError("switched_meanwhile", sentence)
        # Asked with the model's row locked by the update, as archiving locks it too.
        version.refresh_from_db(fields=["archived_at"])
        _check_servable(version)
        activation = Activation.objects.create(
            model_id=version.model_id,
            version=version,
            previous_id=seen,
            by=by,
            by_name=by.get_username() if by else "",
            reason=reason,
            is_rollback=verdict is None,
            gate=_recorded(verdict),
            overrode=verdict is not None and not verdict.passes,
        )
    version.model.active_version = version
    logger.info("%s was activated by %s.", version, activation.by_name or "the command line")
    return activation


def _recorded(verdict: gate.Verdict | None) -> list[dict[str, str]]:
    if verdict is None:
        return []
    return [finding.to_json() for finding in (*verdict.findings, gate.PROVEN)]


def _check_override(by: User | None, reason: str) -> None:
    if by is not None and not by.has_perm("classifier.override_gate"):
        sentence = f"{by} may not override the activation gate."
        raise RegistryError("may_not_override", sentence)
    if not reason.strip():
        sentence = "Say why the activation gate is overridden: the reason is kept for good."
        raise RegistryError("reason_missing", sentence)


def _check_servable(version: ModelVersion) -> None:
    if version.archived_at is not None:
        raise RegistryError("archived", f"{version} is archived. Unarchive it first.")


def _check_reason(reason: str) -> None:
    if len(reason) > _LONGEST_REASON:
        sentence = f"Expected a reason of {_LONGEST_REASON} characters at most. "
        raise RegistryError("reason_too_long", f"{sentence}Received: {len(reason)}")


def _path(model: RegisteredModel) -> list[UUID]:
    """Return the versions that led to the active one, oldest first, without what was undone."""
    path: list[UUID] = []
    events = model.activations.order_by("id").values_list("version_id", "is_rollback")
    for version_id, is_rollback in events:
        if is_rollback and path:
            path.pop()
            while path and path[-1] != version_id:
                path.pop()
        if not path or path[-1] != version_id:
            path.append(version_id)
    return path


def _folders(root: Path) -> list[Path]:
    with _faults_as_refusals():
        found = sorted(root.iterdir())
    return [path for path in found if path.is_dir() and not path.name.startswith((".", "_"))]


def _active_at_first(folder: Path, names: list[str]) -> str:
    choice = folder / ACTIVE_AT_FIRST
    name = choice.read_text("utf-8").strip() if choice.is_file() else ""
    if not name and len(names) == 1:
        return names[0]
    if name not in names:
        sentence = f"Expected {folder.name}/{ACTIVE_AT_FIRST} to name one of {', '.join(names)}. "
        raise RegistryError("shipped_unclear", f"{sentence}Received: {name!r}")
    return name
