"""What a request that classifies may ask for, and how its answer comes about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.http import HttpResponse
from ninja import Field, Schema

from classifier import batches, classification
from classifier.api import answers, catalogue, idempotency, intake, problems
from classifier.api.callers import Caller, Request
from classifier.api.idempotency import Settle
from classifier.api.intake import Sent
from classifier.api.problems import Problem
from classifier.batches import Result
from classifier.models import ModelVersion, Prediction, RegisteredModel

TOP = 10
MOST_TOP = 10_000

Render = Callable[[Prediction], HttpResponse]


class Asked(Schema):
    """The query of a request that classifies."""

    model: str | None = Field(
        None, max_length=64, description="A registered model's name; else the default model."
    )
    version: int | None = Field(
        None,
        ge=1,
        le=catalogue.LARGEST_NUMBER,
        description="The number of one of its versions; else the active one, which is also all "
        "that a caller without a token may ask for.",
    )
    top: int = Field(
        TOP, ge=0, le=MOST_TOP, description="How many probabilities to tell, the highest first."
    )
    store: bool = Field(
        True, description="false: nothing is recorded, and the picture is not kept."
    )

    def who(self, caller: Caller) -> tuple[RegisteredModel, ModelVersion | None]:
        """Return the model asked for, and the version if one is. Raises Problem.

        Loading a version takes seconds and memory: not for everybody who passes by.
        """
        model = catalogue.model(self.model)
        if self.version is None:
            return model, None
        version = catalogue.version(model, self.version)
        if caller.token is None and version.pk != model.active_version_id:
            raise Problem("version_not_active")
        return model, version


def one(request: Request, asked: Asked, render: Render) -> HttpResponse:
    """Classify the picture of a request, and render what came of it. Raises Problem and others."""
    sent = intake.picture(request)
    return idempotency.once(
        request,
        request.auth,
        lambda: [sent.fingerprint()],
        lambda settle: _one(request.auth, asked, sent, render, settle),
    )


def _one(
    caller: Caller, asked: Asked, sent: Sent, render: Render, settle: Settle | None
) -> HttpResponse:
    model, version = asked.who(caller)
    content = intake.read(sent)
    row = classification.classify(
        content,
        filename=sent.name,
        owner=caller.person,
        visitor=None,
        model=model,
        version=version,
        store=asked.store,
        recorded=(lambda row: settle(render(row))) if settle else None,
    )
    if version is None:
        catalogue.check(model, row.version_id)
    answer = render(row)
    if settle and not asked.store:
        settle(answer)
    return answer


def created(caller: Caller, asked: Asked) -> Render:
    """Return how a prediction is answered: 201 with its address, or 200 if it is not recorded."""
    mine = caller.person is not None

    def render(row: Prediction) -> HttpResponse:
        content = answers.answered(row, top=asked.top, mine=mine)
        location = content["links"]["prediction"] or ""
        return answers.respond(content, status=201 if content["id"] else 200, location=location)

    return render


def many(request: Request, asked: Asked, pictures: Sequence[Sent]) -> HttpResponse:
    """Classify the pictures of a request, and answer with one result each."""
    return idempotency.once(
        request,
        request.auth,
        lambda: [sent.fingerprint() for sent in pictures],
        lambda settle: _many(request.auth, asked, pictures, settle),
    )


def _many(
    caller: Caller, asked: Asked, pictures: Sequence[Sent], settle: Settle | None
) -> HttpResponse:
    model, version = asked.who(caller)

    def render(results: Sequence[Result]) -> HttpResponse:
        told = [
            _result(index, result, asked, mine=caller.person is not None)
            for index, result in enumerate(results)
        ]
        return answers.respond({"results": told})

    with intake.turn(pictures):
        results = batches.classify_many(
            pictures,
            owner=caller.person,
            model=model,
            version=version,
            store=asked.store,
            recorded=(lambda results: settle(render(results))) if settle else None,
        )
    answer = render(results)
    if settle and not asked.store:
        settle(answer)
    return answer


def _result(index: int, result: Result, asked: Asked, *, mine: bool) -> dict[str, Any]:
    row, problem = result.prediction, None
    if row is None:
        # The engine has codes for what only files on a disk can be: nobody sends these here.
        code = result.error_code if result.error_code in problems.KINDS else "unreadable"
        problem = Problem(code, result.error).to_json()
    return {
        "index": index,
        "filename": result.name,
        "prediction": answers.answered(row, top=asked.top, mine=mine) if row else None,
        "problem": problem,
    }
