"""Refusals in one form: problem details as RFC 9457 describes them."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from meta_text.errors import ConfigError, InputError, MetaTextError, OutputError

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2  # what a client that came at a busy moment is told to wait
FIELDS = 20  # of a body, that one answer names
logger = logging.getLogger(__name__)


class FieldProblem(BaseModel):
    """What is wrong with one field of the request."""

    where: str = Field(examples=["body.texts.0"])
    problem: str = Field(examples=["input should be a valid string"])


class Problem(BaseModel):
    """Why a request was refused."""

    title: str = Field(description="The status in words.", examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(
        description="What was found, what is needed, and the way out.",
        examples=["texts.1 is blank; write a text in its place, or leave it out"],
    )
    errors: list[FieldProblem] = Field(
        default=[], description="The fields that are wrong, where the body has another form."
    )


class RefusedError(Exception):
    """A request that is not answered, or not now; `retry` tells the client to come again."""

    def __init__(
        self, status: int, detail: str, errors: Sequence[FieldProblem] = (), *, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, list(errors)
        self.headers = headers or {}

    @classmethod
    def for_now(cls, status: int, detail: str) -> "RefusedError":
        return cls(status, f"{detail}; try again later", headers={"Retry-After": str(RETRY_SECONDS)})

    def response(self) -> Response:
        body = Problem(
            title=HTTPStatus(self.status).phrase, status=self.status, detail=self.detail, errors=self.errors
        ).model_dump_json()
        # texts of the request stand in messages, and may hold what UTF-8 cannot encode
        content = body.encode("utf-8", "replace")
        return Response(content, self.status, self.headers, MEDIA_TYPE)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return error.response()


async def _other_form(_: Request, error: Exception) -> Response:
    """A body of another form than the schema; what was sent is not repeated."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    fields = [
        FieldProblem(where=".".join(map(str, one["loc"]))[:200], problem=one["msg"].lower()) for one in found[:FIELDS]
    ]
    first = fields[0]
    return RefusedError(
        422, f"{first.where}: {first.problem}; /openapi.json describes what is needed", fields
    ).response()


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = {404: "there is no such path; /openapi.json lists all", 405: "this path does not take this method"}.get(
        error.status_code, str(error.detail)
    )
    return RefusedError(error.status_code, detail, headers=dict(error.headers or {})).response()


async def _own(_: Request, error: Exception) -> Response:
    """A fault of the request, or of the folder that the classifier is kept in."""
    if isinstance(error, InputError | ConfigError):
        return RefusedError(422, str(error)).response()
    if isinstance(error, OutputError) and isinstance(error.__cause__, OSError):
        return await _cannot_store(_, error.__cause__)
    logger.error("%s", error)
    return RefusedError(500, str(error)).response()


async def _cannot_store(_: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    logger.error("%s", error)
    return RefusedError(507, f"the change could not be stored ({error.strerror}), so nothing was changed").response()


async def _unforeseen(*_: Any) -> Response:
    return RefusedError(500, "a fault of the service; its log says more").response()


def add_handlers(app: FastAPI) -> None:
    """Every error of the app is answered as a Problem."""
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _other_form)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(MetaTextError, _own)
    app.add_exception_handler(OSError, _cannot_store)
    app.add_exception_handler(Exception, _unforeseen)
