"""How a request is refused: an HTTP status and OpenAI's error object, with words for people."""

from __future__ import annotations

from starlette.responses import JSONResponse


class Refused(Exception):
    """A request that is not carried out: an HTTP status, a sentence, what to do."""

    def __init__(self, status: int, message: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint
        self.code = code or _CODES.get(status, "invalid_value")

    def answer(self) -> JSONResponse:
        """Return it as OpenAI's error object, with the hint once more by itself."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        body = {
            "message": f"{self.message} {self.hint}".strip(),
            "type": kind,
            "param": None,
            "code": self.code,
            "hint": self.hint,
        }
        return JSONResponse({"error": body}, self.status, headers=_HEADERS.get(self.status))


_CODES = {
    401: "invalid_api_key",
    404: "not_found",
    408: "request_timeout",
    409: "not_finished",
    413: "request_too_large",
    415: "unsupported_media_type",
    429: "queue_full",
    500: "internal_error",
    503: "not_ready",
    507: "disk_full",
}
_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "10"}}
