"""The one module that imports starlette and uvicorn (extra `serve`)."""

from __future__ import annotations

from ontogeny.base.errors import InputError

try:
    import h11
    import uvicorn
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError:
    raise InputError(
        "serving needs starlette and uvicorn; run: pip install 'ontogeny[serve]'"
    ) from None

__all__ = [
    "ASGIApp",
    "H11Protocol",
    "HTTPException",
    "Message",
    "PlainTextResponse",
    "Receive",
    "Request",
    "Response",
    "Route",
    "Scope",
    "Send",
    "Starlette",
    "h11",
    "uvicorn",
]
