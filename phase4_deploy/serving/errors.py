"""How the service says no: in the form of OpenAI's errors, on every path."""

from collections.abc import Mapping

from starlette.responses import JSONResponse

KINDS = {403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def refusal(
    status: int,
    message: str,
    code: str,
    *,
    param: str | None = None,
    kind: str = "",
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """`{"error": {"message", "type", "param", "code"}}`; the type follows from the status."""
    kind = kind or KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    error = {"message": message, "type": kind, "param": param, "code": code}
    return JSONResponse({"error": error}, status, headers)
