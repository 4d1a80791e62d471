"""Receivers that the rooms connect; imported once by ClassifierConfig.ready()."""

from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.contrib.auth.signals import user_logged_in
from django.db import transaction
from django.db.models.signals import post_delete, post_migrate
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from classifier import carrying, roles, storage, tasks, visitors
from classifier.models import Prediction, StorageState, StoredAnswer, Upload

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# --- Deletion: the picture goes with its record, however the record was deleted -----------------


@receiver(post_delete, sender=Upload)
def delete_picture(instance: Upload, **kwargs: Any) -> None:
    """Delete an upload's picture here after the commit, and have its copy in the cloud deleted.

    The instance may have been read long ago: its picture may be in the cloud by now, or under way
    by a carrier that is killed before it sees that the upload is gone. So the cloud is asked even
    where the row said *waiting*, once every carrier's lease has run out.
    """
    key = instance.storage_key
    transaction.on_commit(lambda: storage.discard(key))
    if instance.storage_state == StorageState.CLOUD:
        tasks.delete_from_cloud.enqueue(key)
    elif instance.storage_state == StorageState.WAITING:
        later = timezone.now() + carrying.LEASE
        tasks.delete_from_cloud.using(run_after=later).enqueue(key)


@receiver(post_delete, sender=Prediction)
def forget_stored_answers(instance: Prediction, **kwargs: Any) -> None:
    """Delete what was stored for a repeated request that tells of a deleted prediction."""
    answers = StoredAnswer.objects.filter(person=instance.owner_id)
    answers.filter(body__contains=str(instance.pk)).delete()


# --- Signing in: what the visitor did before belongs to the user from now on --------------------


@receiver(user_logged_in)
def claim_uploads(request: HttpRequest | None, user: "User", **kwargs: Any) -> None:
    """Claim the visitor's uploads; the cookie stays, and owns nothing that was claimed."""
    visitor = visitors.of(request) if request else None
    if visitor:
        Upload.objects.claim(visitor, user)


# --- Roles: after a migration there may be permissions that there were not before ---------------


@receiver(post_migrate)
def grant_roles(sender: AppConfig, using: str, apps: Any = installed, **kwargs: Any) -> None:
    """Give the roles' groups what is new, once the app's permissions are there.

    Django makes them by a receiver of the same signal, which may be called later than this one.
    """
    if sender.label in roles.APPS:
        create_permissions(sender, verbosity=0, using=using, apps=apps)
        roles.grant(using, apps)
