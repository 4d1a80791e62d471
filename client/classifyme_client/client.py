"""The client: one method for each thing that the API does."""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx

from .errors import ApiError, NotAnswered
from .types import CorrectionMade, Explanation, Model, Prediction, Version

# A picture: a file, its bytes, or the URL of one.
type Source = Path | bytes | str

# What another try may mend; 409 only while the first try is being answered.
_AGAIN = frozenset({429, 502, 503, 504})
_IN_PROGRESS = "idempotency_in_progress"
_LONGEST_PAUSE = 60.0  # seconds


class Client:
    """Calls the API at `base_url`, e.g. "https://classify.example.org", as the token's person.

    Close it, or use it in a `with`. It may be used by several threads. What can be tried again is,
    up to `retries` times; `timeout` is in seconds, for each try. Raises ValueError for a token that
    can be none.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 3,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"User-Agent": "classifyme-client/1.0", "Accept": "application/json"}
        if token:
            if not (token.isascii() and token.isprintable()):
                # Without it: an exception ends in logs.
                raise ValueError("Expected a token of printable ASCII. Received: other characters")
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            base_url=base_url.rstrip("/"), headers=headers, timeout=timeout, transport=transport
        )
        self._retries = retries
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # --- Predictions ----------------------------------------------------------------------------

    def classify(
        self,
        picture: Source,
        *,
        model: str | None = None,
        version: int | None = None,
        top: int | None = None,
        store: bool = True,
    ) -> Prediction:
        """Have one picture classified. Raises ApiError, and OSError for a file it cannot read.

        Args:
            model: a registered model's name; else the default model.
            version: the number of one of its versions; else the active one.
            top: how many probabilities to tell.
            store: False has nothing recorded and the picture not kept.
        """
        query = _query(model=model, version=version, top=top, store=store)
        body = {"json": {"url": picture}} if isinstance(picture, str) else _form("image", [picture])
        answer = self._post("/api/v1/predictions", query, body)
        return Prediction.from_json(answer.json())

    def classify_many(
        self,
        pictures: Sequence[Source],
        *,
        model: str | None = None,
        version: int | None = None,
        top: int | None = None,
        store: bool = True,
    ) -> list[Prediction | ApiError]:
        """Have several pictures classified by one version; one result each, in their order.

        Files and URLs may be mixed; they go in a request each kind. Raises ApiError where all of
        them are refused, e.g. for being too many.
        """
        query = _query(model=model, version=version, top=top, store=store)
        results: dict[int, Prediction | ApiError] = {}
        urls = [index for index, each in enumerate(pictures) if isinstance(each, str)]
        files = [index for index, each in enumerate(pictures) if not isinstance(each, str)]
        if urls:
            body: dict[str, Any] = {"json": {"urls": [pictures[index] for index in urls]}}
            results |= zip(urls, self._batch(query, body), strict=True)
        if files:
            body = _form("images", [_not_a_url(pictures[index]) for index in files])
            results |= zip(files, self._batch(query, body), strict=True)
        return [results[index] for index in range(len(pictures))]

    def _batch(
        self, query: Mapping[str, Any], body: Mapping[str, Any]
    ) -> Iterator[Prediction | ApiError]:
        answer = self._post("/api/v1/predictions/batch", query, body)
        for result in answer.json()["results"]:
            if result["prediction"] is not None:
                yield Prediction.from_json(result["prediction"])
            else:
                yield ApiError.from_json(result["problem"])

    def predictions(
        self,
        *,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        level: str | None = None,
        corrected: bool | None = None,
        top: int | None = None,
        page_size: int | None = None,
    ) -> Iterator[Prediction]:
        """Yield past predictions, newest first, and ask for one page after the other."""
        query = _query(
            model=model,
            version=version,
            label=label,
            level=level,
            corrected=corrected,
            top=top,
            limit=page_size,
        )
        while True:
            page = self._send("GET", "/api/v1/predictions", params=query).json()
            yield from map(Prediction.from_json, page["predictions"])
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def prediction(self, id: UUID | str, *, top: int | None = None) -> Prediction:
        """Read one prediction."""
        address = f"/api/v1/predictions/{_id(id)}"
        return Prediction.from_json(self._send("GET", address, params=_query(top=top)).json())

    def explain(self, prediction: Prediction | UUID | str, label: str | None = None) -> Explanation:
        """Say why: which places of the picture spoke for a label, the predicted one unless told."""
        address = f"/api/v1/predictions/{_id(prediction)}/explanation"
        answer = self._send("GET", address, params=_query(label=label))
        return Explanation.from_json(answer.json())

    def delete(self, prediction: Prediction | UUID | str) -> None:
        """Delete a prediction and its picture, for good."""
        self._send("DELETE", f"/api/v1/predictions/{_id(prediction)}")

    def correct(self, prediction: Prediction | UUID | str, label: str | None) -> CorrectionMade:
        """Say what the picture shows: a label's key, or None for none of the labels."""
        address = f"/api/v1/predictions/{_id(prediction)}/correction"
        return CorrectionMade.from_json(self._post(address, {}, {"json": {"label": label}}).json())

    def take_back(self, prediction: Prediction | UUID | str) -> None:
        """Take back all that the person said of the picture."""
        self._send("DELETE", f"/api/v1/predictions/{_id(prediction)}/correction")

    # --- Models ---------------------------------------------------------------------------------

    def models(self) -> list[Model]:
        """List the registered models."""
        return [
            Model.from_json(each) for each in self._send("GET", "/api/v1/models").json()["models"]
        ]

    def model(self, name: str) -> Model:
        """Read a registered model."""
        return Model.from_json(self._send("GET", _model(name)).json())

    def versions(self, model: str) -> list[Version]:
        """List a model's versions, the newest first."""
        answer = self._send("GET", f"{_model(model)}/versions").json()
        return [Version.from_json(each) for each in answer["versions"]]

    def version(self, model: str, number: int) -> Version:
        """Read a version of a model."""
        answer = self._send("GET", f"{_model(model)}/versions/{number}")
        return Version.from_json(answer.json())

    # --- Sending --------------------------------------------------------------------------------

    def _post(self, path: str, query: Mapping[str, Any], body: Mapping[str, Any]) -> httpx.Response:
        """Send with a key of its own, so that another try does nothing twice."""
        key = {"Idempotency-Key": str(uuid4())}
        return self._send("POST", path, params=query, headers=key, **body)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        for tried in range(self._retries + 1):
            error = self._try(method, path, options)
            if isinstance(error, httpx.Response):
                return error
            if tried == self._retries or not _may_try_again(error):
                raise error
            self._sleep(_pause(error, tried))
        raise AssertionError("not reached")

    def _try(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response | ApiError:
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as exc:
            return NotAnswered(f"{method} {path}: {type(exc).__name__}: {exc}")
        if response.is_success:
            return response
        return _error(response)


def _error(response: httpx.Response) -> ApiError:
    problem: Any = None
    with suppress(ValueError):
        problem = response.json()
    if not isinstance(problem, dict):
        problem = {"code": "unknown", "detail": f"HTTP {response.status_code}"}
    problem.setdefault("status", response.status_code)
    return ApiError.from_json(problem, retry_after=_retry_after(response))


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds that Retry-After says, as a number or as a date (RFC 9110, 10.2.3)."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    with suppress(ValueError):
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    return None


def _may_try_again(error: ApiError) -> bool:
    return isinstance(error, NotAnswered) or error.status in _AGAIN or error.code == _IN_PROGRESS


def _pause(error: ApiError, tried: int) -> float:
    """Return the seconds to wait: as told, else twice as long each time, with some chance in it."""
    if error.retry_after is not None:
        return min(error.retry_after, _LONGEST_PAUSE)
    return min(0.5 * 2.0**tried, _LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311


def _form(field: str, pictures: Sequence[Path | bytes]) -> dict[str, Any]:
    files = [(field, (_name(each), _content(each))) for each in pictures]
    return {"files": files}


def _name(picture: Path | bytes) -> str:
    return picture.name if isinstance(picture, Path) else "picture"


def _content(picture: Path | bytes) -> bytes:
    return picture.read_bytes() if isinstance(picture, Path) else picture


def _not_a_url(picture: Source) -> Path | bytes:
    assert not isinstance(picture, str)  # noqa: S101 (for the type checker)
    return picture


def _query(**values: Any) -> dict[str, Any]:
    """Return what is not None; the booleans in the words of the API, and `store` only if false."""
    chosen = {name: value for name, value in values.items() if value is not None}
    if chosen.get("store"):
        del chosen["store"]
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in chosen.items()
    }


def _id(prediction: Prediction | UUID | str) -> str:
    id = prediction.id if isinstance(prediction, Prediction) else prediction
    if id is None:
        raise ValueError("Expected a prediction that was recorded. Received: one with store=False")
    return quote(str(id), safe="")


def _model(name: str) -> str:
    return f"/api/v1/models/{quote(name, safe='')}"
