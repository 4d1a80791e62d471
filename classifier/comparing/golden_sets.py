"""Pictures of one's own to compare versions on: those of which people said what they show.

A set is frozen when it is made, so that versions compared today and next month are asked the same.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import batched
from typing import TYPE_CHECKING
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from classifier import corrections
from classifier.comparing import manifests
from classifier.comparing.chosen import ComparisonRefused
from classifier.comparing_rows import UNFINISHED, set_name
from classifier.models import Correction, GoldenPicture, GoldenSet, ModelVersion, RegisteredModel

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST_PICTURES = 2_000
LONGEST_NAME = 64
# Of each model's sets without a name those that were made last.
KEPT_WITHOUT_NAME = 50
_LOOKED_AT = 500  # uploads in one query

SENT_TWICE = "sent twice"
NONE_OF_THESE = "none of these"
SEEN_BEFORE = "people spoke of it before, too"


@dataclass
class _Chosen:
    """The correction that counts of each picture, the newest first; what was left out."""

    rows: list[Correction] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def make(
    model: RegisteredModel,
    *,
    name: str = "",
    most: int = MOST_PICTURES,
    since: datetime | None = None,
    by: User | None = None,
) -> GoldenSet:
    """Freeze the newest pictures whose latest correction names a label; return the set.

    Without a name that is the set which there is, if it has the same pictures and labels; of many
    such sets the oldest are forgotten.

    Args:
        name: to find it by later; "" for one comparison.
        most: pictures, at most MOST_PICTURES.
        since: leaves out what anybody said something of before; no version made until then can
            have learnt from what is left.

    Raises ComparisonRefused: name_invalid, name_taken, no_pictures.
    """
    if name:
        _check_name(model, name)
    chosen = _choose(model, min(most, MOST_PICTURES), since)
    if not chosen.rows:
        raise ComparisonRefused("no_pictures", _nothing(model, since))
    digest = _digest(chosen.rows)
    if not name and (same := GoldenSet.objects.filter(model=model, digest=digest).first()):
        return same
    golden_set = GoldenSet(
        model=model,
        name=name,
        digest=digest,
        size=len(chosen.rows),
        counts=dict(sorted(Counter(row.label for row in chosen.rows).items())),
        left_out=dict(chosen.left_out),
        since=since,
        created_by=by,
        created_by_name=by.get_username() if by else "",
    )
    try:
        with transaction.atomic():
            golden_set.save(force_insert=True)
            GoldenPicture.objects.bulk_create(_pictures(golden_set, chosen), batch_size=500)
    except IntegrityError as error:
        raise _taken(model, name) from error
    if not name:
        _forget_oldest(model)
    return golden_set


def _forget_oldest(model: RegisteredModel) -> None:
    """Delete what nobody gave a name to, and no version is at work on, beyond those that stay."""
    without = GoldenSet.objects.filter(model=model, name="").order_by("-pk")
    idle = without.exclude(runs__state__in=UNFINISHED)
    oldest = list(idle.values_list("pk", flat=True)[KEPT_WITHOUT_NAME:])
    GoldenSet.objects.filter(pk__in=oldest).delete()


def find(model: RegisteredModel, key: str) -> GoldenSet:
    """Return the model's set with this id or name. Raises ComparisonRefused."""
    found = _found(model, key)
    if found is None:
        names = GoldenSet.objects.named().filter(model=model).values_list("name", flat=True)
        known = ", ".join(names) or "none yet"
        raise ComparisonRefused(
            "not_found",
            f"Expected a golden set of {model} (by name there are: {known}). Received: {key:.80}",
        )
    if found.model_id != model.pk:
        raise ComparisonRefused(
            "other_model", f"The golden set {found} is one of {found.model}, not of {model}."
        )
    return found


def _found(model: RegisteredModel, key: str) -> GoldenSet | None:
    sets = GoldenSet.objects.select_related("model")
    try:
        return sets.filter(pk=UUID(key)).first()
    except ValueError:
        # A name that no set can have is not asked for: not every database takes any text.
        known = re.fullmatch(r"[a-z0-9_-]{1,64}", key)
        return sets.named().filter(model=model, name=key).first() if known else None


def newest_made(versions: Sequence[ModelVersion]) -> datetime:
    """Return when the youngest of these was made: it cannot know what people said later."""
    made = [datetime.fromisoformat(version.manifest["created"]) for version in versions]
    return max(made).astimezone(UTC)


def perhaps_learnt(golden_set: GoldenSet, version: ModelVersion) -> int:
    """Return how many pictures a version trained on corrections may have learnt from."""
    if not manifests.learnt_from_corrections(version.manifest):
        return 0
    made = datetime.fromisoformat(version.manifest["created"])
    return golden_set.pictures.filter(said_at__lt=made).count()


def _choose(model: RegisteredModel, most: int, since: datetime | None) -> _Chosen:
    """Choose the latest word on each picture; the same bytes sent twice are one picture."""
    chosen, contents = _Chosen(), set()
    for few in batched(corrections.newest_labelled(model, since=since), _LOOKED_AT):
        before = _seen_before(few, since)
        for row in few:
            upload = row.prediction.upload
            if upload.stored_sha256 in contents:
                chosen.left_out[SENT_TWICE] += 1
                continue
            contents.add(upload.stored_sha256)
            if row.label == corrections.NONE_OF_THESE:
                chosen.left_out[NONE_OF_THESE] += 1
            elif upload.pk in before:
                chosen.left_out[SEEN_BEFORE] += 1
            elif len(chosen.rows) < most:
                chosen.rows.append(row)
        if len(chosen.rows) >= most:
            break
    return chosen


def _seen_before(rows: Sequence[Correction], since: datetime | None) -> set[UUID]:
    """Return the uploads among these of which people said something before `since` as well."""
    if since is None:
        return set()
    earlier = Correction.objects.filter(
        prediction__upload__in=[row.prediction.upload_id for row in rows], created_at__lte=since
    )
    return set(earlier.values_list("prediction__upload_id", flat=True))


def _pictures(golden_set: GoldenSet, chosen: _Chosen) -> list[GoldenPicture]:
    return [
        GoldenPicture(
            golden_set=golden_set,
            upload=row.prediction.upload,
            sha256=row.prediction.upload.stored_sha256,
            label=row.label,
            confirmed=row.confirms,
            said_at=row.created_at,
        )
        for row in chosen.rows
    ]


def _digest(rows: Sequence[Correction]) -> str:
    lines = sorted(f"{row.prediction.upload.stored_sha256} {row.label}" for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _check_name(model: RegisteredModel, name: str) -> None:
    try:
        set_name(name)
    except ValidationError as error:
        raise ComparisonRefused("name_invalid", f"{error.message} Received: {name:.80}") from error
    if len(name) > LONGEST_NAME:
        sentence = f"Expected a name of at most {LONGEST_NAME} letters. Received: {name:.80}"
        raise ComparisonRefused("name_invalid", sentence)
    if GoldenSet.objects.filter(model=model, name=name).exists():
        raise _taken(model, name)


def _taken(model: RegisteredModel, name: str) -> ComparisonRefused:
    sentence = f"There is a golden set {name} of {model} already: choose another name."
    return ComparisonRefused("name_taken", sentence)


def _nothing(model: RegisteredModel, since: datetime | None) -> str:
    after = f" since {since:%Y-%m-%d %H:%M} UTC" if since else ""
    return (
        f"Nobody has corrected or confirmed what {model} said{after}: there are no pictures to "
        "compare on. Review some first."
    )
