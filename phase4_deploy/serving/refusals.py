"""Errors of the API: what went wrong, in OpenAI's form, with the status that fits."""

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from phase4_deploy.serving.answers import Left
from phase4_deploy.serving.engine import UnknownModel
from phase4_deploy.serving.errors import refusal
from phase4_deploy.serving.lanes import Broken, Busy, Lost
from phase4_deploy.serving.media import BadInput
from phase4_deploy.serving.models import TooLong
from phase4_deploy.serving.telemetry import LEFT
from shared.errors import VermeilError

CODES = {404: "not_found", 405: "method_not_allowed", 413: "request_too_large"}


def answer_to(error: Exception) -> JSONResponse:
    """What a client is told."""
    if isinstance(error, Busy):
        status, code = (503, "worker_lost") if isinstance(error, Lost) else (429, "queue_full")
        again = {"retry-after": str(error.seconds)}
        return refusal(status, str(error), code, headers=again)
    if isinstance(error, UnknownModel):
        return refusal(404, str(error), "model_not_found", param="model")
    if isinstance(error, TooLong):
        return refusal(400, str(error), "context_length_exceeded")
    if isinstance(error, BadInput):
        return refusal(error.status, str(error), error.code)
    if isinstance(error, VermeilError):
        return refusal(400, str(error), "invalid_request")
    if isinstance(error, Broken):
        return refusal(500, str(error), "internal_error")
    return refusal(500, "the server failed to answer", "internal_error")


def body_of(error: Exception) -> Any:
    """The body alone, for an answer whose status was sent before."""
    import json

    return json.loads(bytes(answer_to(error).body))


def _let_go(error: Exception) -> None:
    """Free the frames that an error came through.

    FastAPI keeps the error in one of them: a circle, which would hold a body of 32 MB until the
    next full garbage collection.
    """
    error.__traceback__ = error.__cause__ = error.__context__ = None


def install(app: FastAPI) -> None:
    """Let every error of the application be said in this form."""

    async def ours(_: Request, error: Exception) -> JSONResponse:
        _let_go(error)
        return answer_to(error)

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        _let_go(error)
        code = CODES.get(error.status_code, "invalid_request")
        message = str(error.detail)
        if error.status_code == 404:
            message = "there is no such path; /docs lists them"
        return refusal(error.status_code, message, code, headers=error.headers)

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        _let_go(error)
        # Where several kinds were tried, that which came furthest is what was meant.
        first = max(error.errors(), key=lambda each: len(each["loc"]))
        # Without the kinds that were tried, e.g. prompt.list[constrained-str].0
        parts = (str(part) for part in first["loc"] if part != "body")
        where = ".".join(part for part in parts if not set("[(") & set(part))[:200]
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "json_invalid":
            where, message = "", f"the body is no JSON: {first['ctx']['error']}"
        said = f"{where}: {message}" if where else message
        return refusal(422, said, "invalid_value", param=where or None)

    async def left(_: Request, error: Exception) -> Response:
        return Response(status_code=LEFT)  # nobody reads it; it is for the log

    app.add_exception_handler(Left, left)
    app.add_exception_handler(VermeilError, ours)
    app.add_exception_handler(Broken, ours)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
