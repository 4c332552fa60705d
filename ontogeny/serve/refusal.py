"""Why a request is not answered, in the form that clients of OpenAI's API read. Knows no HTTP."""

from __future__ import annotations

from typing import Any

from ontogeny.base.errors import printable

_TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    502: "server_error",
    503: "server_error",
    507: "server_error",
}
MOST_CHARACTERS = 300


class Refused(Exception):
    """One request is not answered.

    Args:
        message: what is wrong and what to do about it, in one line; cut at `MOST_CHARACTERS`.
        status: of HTTP, 400 to 599.
        param: the field that is wrong, as a path (`messages[2].role`).
        code: for programs.
        retry_after: seconds after which another try makes sense.
    """

    def __init__(
        self,
        message: str,
        status: int = 400,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.param, self.code = message, status, param, code
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """The error object of OpenAI's API; what it quotes is escaped."""
        return {
            "error": {
                "message": shortened(self.message, MOST_CHARACTERS),
                "type": _TYPES.get(self.status, "invalid_request_error"),
                "param": None if self.param is None else shortened(self.param, 80),
                "code": self.code,
            }
        }

    def headers(self) -> dict[str, str]:
        """What else the response says."""
        told = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return told | ({"www-authenticate": "Bearer"} if self.status == 401 else {})


def shortened(text: str, most: int) -> str:
    """`text` printable, at most so long."""
    text = printable(text[: most + 1])
    return text if len(text) <= most else f"{text[:most]}..."
