"""How the tests call the API: as a program does, with a token and without a cookie."""

import json
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from classifier.api import tokens
from classifier.tests.bundles import picture

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# What staff need to have for the scope admin.
ADMINS = ("view_prediction", "delete_prediction", "review_prediction")
PREDICTIONS = "/api/v1/predictions"
BATCH = "/api/v1/predictions/batch"


class Program:
    """A caller: nobody in particular, or one with a token."""

    def __init__(self, secret: str = "") -> None:
        self.client = Client()
        self.headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    def get(self, path: str, /, headers: dict[str, str] | None = None, **query: Any) -> Any:
        return self.client.get(path, query, headers={**self.headers, **(headers or {})})

    def delete(self, path: str) -> Any:
        return self.client.delete(path, headers=self.headers)

    def post_json(self, path: str, content: object, headers: dict[str, str] | None = None) -> Any:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.post(path, body, "application/json", headers)

    def post_files(
        self, path: str, fields: dict[str, Any], headers: dict[str, str] | None = None
    ) -> Any:
        return self.post(path, encode_multipart(BOUNDARY, fields), MULTIPART_CONTENT, headers)

    def post(self, path: str, body: bytes, kind: str, headers: dict[str, str] | None = None) -> Any:
        sent = {**self.headers, **(headers or {})}
        return self.client.generic("POST", path, body, kind, headers=sent)

    def classify(
        self,
        content: bytes | None = None,
        *,
        name: str = "red.png",
        query: str = "",
        headers: dict[str, str] | None = None,
    ) -> Any:
        sent = file(picture() if content is None else content, name)
        return self.post_files(f"{PREDICTIONS}{query}", {"image": sent}, headers)


def permissions(*names: str) -> Any:
    """Return the permissions of these code names, all of `ADMINS` unless said."""
    return Permission.objects.filter(
        content_type__app_label="classifier", codename__in=names or ADMINS
    )


def file(content: bytes, name: str = "red.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, "application/octet-stream")


def program_of(person: "User", *scopes: str) -> Program:
    """Return a program with a token of the person's; all that is no admin's unless said."""
    return Program(tokens.issue(person, scopes or ("predict", "read")))


def code_of(response: Any) -> str:
    """Return the code of a problem, once it is seen to be one by RFC 9457."""
    assert response.headers["Content-Type"] == "application/problem+json", response.content
    content = json.loads(response.content)
    assert content["status"] == response.status_code
    assert {"type", "title", "status", "detail", "instance", "code"} <= set(content)
    assert content["type"] == f"/api/v1/docs#{content['code']}"
    return str(content["code"])
