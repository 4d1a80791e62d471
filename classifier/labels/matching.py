"""Which prediction a row is about, and which label it means: by id, by content, by file name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Self
from uuid import UUID

from classifier.labels.brought import Line
from classifier.models import (
    Label,
    ModelVersion,
    Prediction,
    PredictionQuerySet,
    RegisteredModel,
    Upload,
    UploadQuerySet,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

# Of a picture that was sent thousands of times so many are looked at.
MOST_ALIKE = 100
_SHOWN = 10


class Outcome(StrEnum):
    """What becomes of a row."""

    CORRECTED = "corrected"
    SAME = "same"
    UNLABELLED = "unlabelled"
    UNKNOWN = "unknown"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Match:
    """A row and the prediction it corrects; or, with `outcome`, why it corrects none.

    `siblings` are other predictions of the same model about the same upload, which a row that
    names the picture means as well.
    """

    line: Line
    prediction: UUID | None = None
    label: str = ""
    siblings: tuple[UUID, ...] = ()
    outcome: Outcome | None = None
    reason: str = ""


class Unmatched(Exception):
    """A row is about no prediction, or about which is not clear; `str()` says why."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


def may_import_all(person: User | AnonymousUser | None) -> bool:
    """Whether this person may say of everybody's pictures what they show, by a file."""
    if person is None or not person.is_staff:
        return False
    return person.is_active and person.has_perm("classifier.import_labels")


@dataclass(frozen=True)
class Whose:
    """Whose pictures a file may be about: everybody's, or one person's own."""

    everybodys: bool = False
    owner: User | None = None
    visitor: UUID | None = None

    def uploads(self) -> UploadQuerySet:
        rows = Upload.objects.all()
        if self.everybodys:
            return rows
        if self.owner is not None:
            return rows.filter(owner=self.owner)
        return rows.none() if self.visitor is None else rows.filter(visitor=self.visitor)

    def predictions(self) -> PredictionQuerySet:
        rows = Prediction.objects.all()
        if self.everybodys:
            return rows
        if self.owner is not None:
            return rows.owned_by(self.owner)
        return rows.none() if self.visitor is None else rows.filter(visitor=self.visitor)


@dataclass
class Vocabulary:
    """The labels of all models: by key, and by what people read, in small letters."""

    titles: dict[int, str]
    models: dict[str, int]
    versions: dict[UUID, int]
    keys: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    names: dict[int, dict[str, set[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )

    @classmethod
    def load(cls) -> Self:
        rows = RegisteredModel.objects.values_list("pk", "name")
        titles = dict(rows)
        versions = dict(ModelVersion.objects.values_list("pk", "model_id"))
        made = cls(titles, {name: key for key, name in titles.items()}, versions)
        for model, key, name in Label.objects.values_list("model_id", "key", "name"):
            made.keys[model].add(key)
            made.names[model][key.casefold()].add(key)
            made.names[model][name.casefold()].add(key)
        return made

    def label(self, model: int, line: Line) -> str:
        """Return the key that a row means, "" for none of these. Raises Unmatched."""
        if line.label in self.keys[model]:
            return line.label
        meant = self.names[model].get(line.label.casefold(), set()) if line.label else set()
        if len(meant) == 1:
            return next(iter(meant))
        if line.none and not meant:
            return ""
        known = sorted(meant or self.keys[model])
        shown = ", ".join(known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "")
        wrong = "Several labels have that name" if meant else "There is no such label"
        sentence = f"{wrong} of {self.titles[model]} ({shown}). Received: {line.label!r:.120}"
        raise Unmatched(Outcome.REFUSED, sentence)


@dataclass(frozen=True, slots=True)
class _Found:
    prediction: UUID
    upload: UUID
    model: int


class Matcher:
    """Finds what rows are about, some hundreds at a time; `model` is the only one meant, if any."""

    def __init__(self, whose: Whose, model: int | None = None) -> None:
        self.whose = whose
        self.model = model
        self.words = Vocabulary.load()

    def match(self, lines: Sequence[Line]) -> list[Match]:
        """Return what each row is about. Takes a query or two a chunk, and one a name or digest."""
        asking = [line for line in lines if not line.problem and (line.label or line.none)]
        named = self._by_prediction({line.prediction for line in asking if line.prediction})
        uploads = {line.upload for line in asking if line.upload}
        known: dict[tuple[str, str], list[UUID] | Unmatched] = {}
        alike = {line: self._alike(line, known) for line in asking if _by_content(line, named)}
        uploads.update(*(found for found in alike.values() if not isinstance(found, Unmatched)))
        sent = self._by_upload(uploads)
        return [self._matched(line, named, alike, sent) for line in lines]

    def _by_prediction(self, keys: Iterable[UUID]) -> dict[UUID, _Found]:
        rows = self.whose.predictions().filter(pk__in=list(keys))
        return {found.prediction: found for found in self._found(rows)}

    def _by_upload(self, keys: Iterable[UUID]) -> dict[UUID, list[_Found]]:
        by_upload: dict[UUID, list[_Found]] = defaultdict(list)
        for found in self._found(self.whose.predictions().filter(upload__in=list(keys))):
            by_upload[found.upload].append(found)
        return by_upload

    def _found(self, rows: PredictionQuerySet) -> Iterable[_Found]:
        for key, upload, version in rows.values_list("pk", "upload_id", "version_id"):
            model = self.words.versions.get(version)
            if model is not None:
                yield _Found(key, upload, model)

    def _alike(
        self, line: Line, known: dict[tuple[str, str], list[UUID] | Unmatched]
    ) -> list[UUID] | Unmatched:
        """Return what `_uploads` does, which is asked once for all rows of a picture."""
        key = line.sha256, "" if line.sha256 else line.file_name
        if key not in known:
            known[key] = self._uploads(line)
        return known[key]

    def _uploads(self, line: Line) -> list[UUID] | Unmatched:
        """Return the uploads of this content or, without a digest, of this name."""
        rows = self.whose.uploads()
        if line.sha256:
            rows = rows.filter(original_sha256=line.sha256)
        elif line.file_name:
            rows = rows.filter(filename=line.file_name)
        else:
            rows = rows.none()
        found = list(rows.values_list("pk", "original_sha256")[:MOST_ALIKE])
        if len({sha256 for _, sha256 in found}) > 1:
            sentence = (
                f"Several pictures are called {line.file_name!r:.120}: "
                "add their prediction_id or sha256."
            )
            return Unmatched(Outcome.REFUSED, sentence)
        return [key for key, _ in found]

    def _matched(
        self,
        line: Line,
        named: dict[UUID, _Found],
        alike: dict[Line, list[UUID] | Unmatched],
        sent: dict[UUID, list[_Found]],
    ) -> Match:
        if line.problem:
            return Match(line, outcome=Outcome.REFUSED, reason=line.problem)
        if not line.label and not line.none:
            return Match(line, outcome=Outcome.UNLABELLED)
        try:
            return self._meant(line, self._candidates(line, named, alike, sent))
        except Unmatched as error:
            return Match(line, outcome=error.outcome, reason=str(error))

    def _candidates(
        self,
        line: Line,
        named: dict[UUID, _Found],
        alike: dict[Line, list[UUID] | Unmatched],
        sent: dict[UUID, list[_Found]],
    ) -> list[_Found]:
        if line.prediction in named:
            return [named[line.prediction]]
        if line.upload in sent:
            return sent[line.upload]
        if not (line.prediction or line.upload or line.sha256 or line.file_name):
            raise Unmatched(Outcome.REFUSED, "It names no picture.")
        uploads = alike.get(line, [])
        if isinstance(uploads, Unmatched):
            raise uploads
        found = [each for upload in uploads for each in sent.get(upload, [])]
        if not found:
            raise Unmatched(Outcome.UNKNOWN, "There is no such picture that you may label.")
        return found

    def _meant(self, line: Line, found: list[_Found]) -> Match:
        """Return the newest prediction by the model that has the label."""
        found = self._of_model(line, found)
        labels: dict[int, str] = {}
        refused: Unmatched | None = None
        for model in sorted({each.model for each in found}):
            try:
                labels[model] = self.words.label(model, line)
            except Unmatched as error:
                refused = refused or error
        if refused is not None and not labels:
            raise refused
        if len(labels) > 1:
            names = ", ".join(self.words.titles[model] for model in labels)
            sentence = f"Several models saw the picture ({names}): add a column model."
            raise Unmatched(Outcome.REFUSED, sentence)
        model, label = next(iter(labels.items()))
        *older, newest = sorted(each.prediction for each in found if each.model == model)
        return Match(line, newest, label, tuple(older))

    def _of_model(self, line: Line, found: list[_Found]) -> list[_Found]:
        wanted = self.model
        if line.model:
            wanted = self.words.models.get(line.model)
            if wanted is None:
                sentence = f"No model is registered as {line.model!r:.120}."
                raise Unmatched(Outcome.REFUSED, sentence)
        if self.model is not None and wanted != self.model:
            title = self.words.titles[self.model]
            raise Unmatched(Outcome.REFUSED, f"The import is about {title} only.")
        kept = [each for each in found if wanted is None or each.model == wanted]
        if not kept:
            title = self.words.titles[wanted] if wanted is not None else "no model"
            raise Unmatched(Outcome.UNKNOWN, f"{title} has not classified this picture.")
        return kept


def _by_content(line: Line, named: dict[UUID, _Found]) -> bool:
    """Whether a row is to be found by digest or name: ids say which picture, names only may.

    An id that is not here may be of another installation; the digest holds anywhere.
    """
    if line.prediction in named:
        return False
    return bool(line.sha256) or not (line.prediction or line.upload)
