"""How a file of labels is looked through and taken over, by the worker or at once.

The look changes nothing: it says what would change. Taking over writes corrections, some hundreds
of rows in a transaction that also counts how far it came: a worker that is killed goes on there,
and no row is taken over twice. Where the label is what counts already, nothing is written.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import batched
from typing import TYPE_CHECKING, BinaryIO
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from classifier import corrections
from classifier.labels import brought, cells, keeping
from classifier.labels.labelled import NONE_OF_THESE
from classifier.labels.matching import Match, Matcher, Outcome, Whose, may_import_all
from classifier.models import Prediction
from classifier.transfers import UNFINISHED, Import, State

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CHUNK = 200
KEEP = timedelta(days=2)
SHOWN_PROBLEMS = 20
NO_LONGER = "Importing labels of everybody's pictures is no longer allowed to who began it."
BROKEN = "Something went wrong here; it stands in the log. Try it once more."


class Overtaken(Exception):
    """The import was removed, or another run has taken it over."""


class NotAllowed(Exception):
    """Its person may not do this any more; `str()` is a sentence for a person."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a row, or became of it; `was` is what counted before."""

    match: Match
    outcome: Outcome
    reason: str = ""
    was: str | None = None


@dataclass
class Judge:
    """Compares rows with what counts, and with the rows before them in the file.

    The first row about a prediction is taken; a later one that says otherwise is refused.
    """

    _said: dict[UUID, tuple[int, str]] = field(default_factory=dict)

    def judge(self, matches: Iterable[Match], now: Mapping[UUID, str | None]) -> list[Verdict]:
        """Return what becomes of each; `now` has what counts of the predictions that are there."""
        return [self._judged(match, now) for match in matches]

    def _judged(self, match: Match, now: Mapping[UUID, str | None]) -> Verdict:
        if match.outcome is not None or match.prediction is None:
            return Verdict(match, match.outcome or Outcome.UNKNOWN, match.reason)
        if match.prediction not in now:
            return Verdict(match, Outcome.UNKNOWN, "The picture was deleted meanwhile.")
        was = now[match.prediction]
        number, said = self._said.setdefault(match.prediction, (match.line.number, match.label))
        if said != match.label:
            reason = f"Row {number} says otherwise of the same picture: {said or NONE_OF_THESE}."
            return Verdict(match, Outcome.REFUSED, reason, was)
        if number != match.line.number or _counts(match, now):
            return Verdict(match, Outcome.SAME, was=was)
        return Verdict(match, Outcome.CORRECTED, was=was)


def _counts(match: Match, now: Mapping[UUID, str | None]) -> bool:
    """Whether the label is what counts already, of it or of others about the same picture."""
    if match.prediction is not None and (was := now[match.prediction]) is not None:
        return was == match.label
    others = {now.get(each) for each in match.siblings} - {None}
    return others == {match.label}


@dataclass
class Tally:
    """How many rows came to what, and the first of those that a person should look at."""

    rows: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    problems: list[dict[str, object]] = field(default_factory=list)

    def add(self, verdicts: Iterable[Verdict]) -> None:
        for verdict in verdicts:
            self.rows += 1
            self.outcomes[verdict.outcome] += 1
            if verdict.reason and len(self.problems) < SHOWN_PROBLEMS:
                line = verdict.match.line
                self.problems.append(
                    {"number": line.number, "picture": line.shown, "reason": verdict.reason}
                )

    def columns(self) -> dict[str, object]:
        counted = {str(outcome): self.outcomes[outcome] for outcome in Outcome}
        return counted | {"problems": self.problems}


def verdicts(lines: Iterable[brought.Line], matcher: Matcher) -> Iterator[list[Verdict]]:
    """Yield what would become of the rows, some hundreds at a time; nothing is changed."""
    judge = Judge()
    for chunk in batched(lines, CHUNK):
        matches = matcher.match(chunk)
        rows = Prediction.objects.filter(pk__in=_concerned(matches))
        yield judge.judge(matches, dict(rows.values_list("pk", "corrected_label")))


def taken(
    lines: Iterable[brought.Line],
    matcher: Matcher,
    *,
    by: User | None,
    visitor: UUID | None = None,
) -> Iterator[list[Verdict]]:
    """Write the rows' labels as corrections and yield what became of them.

    Each chunk is a transaction of its own: a caller that stops has what was yielded.
    """
    judge = Judge()
    for chunk in batched(lines, CHUNK):
        matches = matcher.match(chunk)
        with transaction.atomic():
            found = judge.judge(matches, corrections.lock_many(_concerned(matches)))
            _record(found, by=by, visitor=visitor)
        yield found


def _record(found: Iterable[Verdict], *, by: User | None, visitor: UUID | None) -> None:
    said = {
        verdict.match.prediction: verdict.match.label
        for verdict in found
        if verdict.outcome is Outcome.CORRECTED and verdict.match.prediction
    }
    corrections.record_many(said, by=by, visitor=visitor)


def _concerned(matches: Iterable[Match]) -> list[UUID]:
    return [key for each in matches if each.prediction for key in (each.prediction, *each.siblings)]


# -- in the worker --------------------------------------------------------------------------------


def go_on(import_id: UUID) -> str:
    """Look through an import's file or, once that was confirmed, take its labels over.

    Returns what became of it, in words. What is wrong stands in the import's row as a sentence.
    May run twice, at the same time too.
    """
    brings = _take(import_id)
    if brings is None:
        return "nothing to do"
    try:
        return _apply(brings) if brings.confirmed_at else _look(brings)
    except Overtaken:
        return "overtaken"
    except (NotAllowed, brought.NotReadable, keeping.NoRoom) as error:
        return _fail(brings, str(error))
    except OSError as error:
        return _fail(brings, f"The file cannot be read: {error.strerror or error}.")
    except Exception:
        _fail(brings, BROKEN)
        raise


def _take(import_id: UUID) -> Import | None:
    """Begin a run of its own; None where the import is gone, over, or another's by now."""
    brings = Import.objects.select_related("owner").filter(pk=import_id).first()
    if brings is None or not brings.is_unfinished:
        return None
    mine = Import.objects.filter(pk=brings.pk, attempt=brings.attempt, state__in=UNFINISHED)
    if not mine.update(attempt=brings.attempt + 1, state=State.RUNNING):
        return None
    brings.attempt += 1
    return brings


def _matcher(brings: Import) -> Matcher:
    if brings.everybodys and not may_import_all(brings.owner):
        raise NotAllowed(NO_LONGER)
    whose = Whose(brings.everybodys, brings.owner, brings.visitor)
    return Matcher(whose, brings.model_id)


def _open(brings: Import) -> BinaryIO:
    return keeping.path_of(brings.file).open("rb")


def _look(brings: Import) -> str:
    matcher, tally = _matcher(brings), Tally()
    with _open(brings) as file:
        chunks = _counted(brings, verdicts(brought.lines(file), matcher), tally)
        name, _ = keeping.keep(report(chunks), "csv")
    try:
        now = timezone.now()
        _update(
            brings,
            **tally.columns(),
            rows_done=tally.rows,
            report=name,
            state=State.CHECKED,
            finished_at=now,
            expires_at=now + KEEP,
        )
    except Overtaken:
        keeping.discard(name)
        raise
    return "checked"


def _counted(
    brings: Import, chunks: Iterable[list[Verdict]], tally: Tally
) -> Iterator[list[Verdict]]:
    due = time.monotonic() + 1
    for chunk in chunks:
        tally.add(chunk)
        yield chunk
        if time.monotonic() >= due:
            _update(brings, rows_done=tally.rows)
            due = time.monotonic() + 1


def _apply(brings: Import) -> str:
    matcher, judge, tally = _matcher(brings), Judge(), Tally()
    with _open(brings) as file:
        for chunk in batched(brought.lines(file), CHUNK):
            _apply_chunk(brings, judge, tally, matcher.match(chunk))
    now = timezone.now()
    _update(brings, state=State.DONE, finished_at=now, expires_at=now + KEEP)
    return "done"


def _apply_chunk(brings: Import, judge: Judge, tally: Tally, matches: list[Match]) -> None:
    """Write a chunk's corrections, and that they are written, or neither. Raises Overtaken."""
    with transaction.atomic():
        mine = Import.objects.select_for_update().filter(
            pk=brings.pk, attempt=brings.attempt, state=State.RUNNING
        )
        row = mine.first()
        if row is None:
            raise Overtaken
        now = corrections.lock_many(_concerned(matches))
        found = judge.judge(matches, now)
        tally.rows += len(found)
        if (
            tally.rows <= row.rows_applied
        ):  # by a run that was killed; the judge has to know of them
            return
        _record(found, by=brings.owner, visitor=brings.visitor)
        counts = Counter(verdict.outcome for verdict in found)
        mine.update(
            rows_applied=tally.rows,
            rows_done=tally.rows,
            **{str(each): getattr(row, each) + counts[each] for each in Outcome},
        )


def _update(brings: Import, **columns: object) -> None:
    """Write into the import's row, which only the latest run may. Raises Overtaken."""
    mine = Import.objects.filter(pk=brings.pk, attempt=brings.attempt, state=State.RUNNING)
    if not mine.update(**columns):
        raise Overtaken


def _fail(brings: Import, sentence: str) -> str:
    mine = Import.objects.filter(pk=brings.pk, attempt=brings.attempt, state=State.RUNNING)
    now = timezone.now()
    mine.update(state=State.FAILED, error=sentence, finished_at=now, expires_at=now + KEEP)
    return sentence


# -- the report -----------------------------------------------------------------------------------


def report(chunks: Iterable[list[Verdict]]) -> Iterator[bytes]:
    """Yield a CSV with a line for each row of the file: what becomes of it, and why."""
    yield cells.line(("row", "outcome", "picture", "label", "before", "reason")).encode()
    for chunk in chunks:
        yield "".join(map(_report_line, chunk)).encode("utf-8", "replace")


def _report_line(verdict: Verdict) -> str:
    match = verdict.match
    label = match.line.label if match.prediction is None else match.label or NONE_OF_THESE
    before = "" if verdict.was is None else verdict.was or NONE_OF_THESE
    return cells.line(
        (
            *(match.line.number, str(verdict.outcome), match.line.shown),
            *(label, before, verdict.reason),
        )
    )
