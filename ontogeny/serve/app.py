"""Routes, and what surrounds each request: key, limits, log, the client who may leave.

Knows no model: `Service` answers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ontogeny.serve.answering import Answering, Note
from ontogeny.serve.asked import chat_asked, completion_asked
from ontogeny.serve.gate import Gate, Keys
from ontogeny.serve.library import (
    ASGIApp,
    HTTPException,
    Message,
    PlainTextResponse,
    Receive,
    Request,
    Response,
    Route,
    Scope,
    Send,
    Starlette,
)
from ontogeny.serve.meters import Log, Meters
from ontogeny.serve.openapi import document
from ontogeny.serve.refusal import Refused, shortened
from ontogeny.serve.service import Service
from ontogeny.serve.shapes import encoded
from ontogeny.serve.wanted import unknown_model

OPEN = "/health"
"""The one route without a key."""
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Front:
    """Everything that stands before the routes.

    Args:
        hosts: names that a request may give as its host where there are no keys: a page in a
            browser on this machine could otherwise ask under a name of its own (DNS rebinding).
    """

    routes: ASGIApp
    keys: Keys
    meters: Meters
    log: Log | None
    hosts: tuple[str, ...] = LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request of ASGI 3."""
        note = scope["note"] = Note()
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            try:
                note.owner = self._owner(scope)
            except Refused as refused:
                await refusal(refused)(scope, receive, watched)
            else:
                await self.routes(scope, receive, watched)
        finally:
            self._tell(scope, note, status)

    def _owner(self, scope: Scope) -> str:
        if scope["path"] == OPEN:
            return ""
        headers = dict(scope["headers"])
        if self.keys:
            return self.keys.owner(headers.get(b"authorization", b"").decode("latin-1"))
        host = headers.get(b"host", b"").decode("latin-1")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name.lower() not in self.hosts:
            raise Refused(f"the host must be {' or '.join(self.hosts)}", 421)
        return ""

    def _tell(self, scope: Scope, note: Note, status: int) -> None:
        seconds = time.monotonic() - note.begun
        route = scope.get("route")
        known = getattr(route, "path", "other")
        self.meters.add("requests_total", route=known, status=status)
        if known.endswith("completions"):
            self.meters.time("request_seconds", seconds)
        if self.log is not None and known != OPEN:
            self.log.write(
                method=shortened(scope["method"], 10),
                path=shortened(scope["path"], 100),
                status=status,
                seconds=round(seconds, 3),
                key=note.owner,
                prompt_tokens=note.prompt_tokens,
                sampled_tokens=note.sampled_tokens,
                ended=note.ended,
            )


def refusal(refused: Refused) -> Response:
    """A refusal as a response; one that left a body unread closes the connection."""
    headers = refused.headers()
    if refused.status in (401, 408, 413, 421) or refused.code == "unread":
        headers["connection"] = "close"
    body = encoded(refused.body())
    return Response(body, refused.status, headers, media_type="application/json")


async def _refused(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        reasons = {404: "there is no such route", 405: "this route has another method"}
        said = reasons.get(error.status_code, str(error.detail))
        response = refusal(Refused(said, error.status_code))
        response.headers.update(error.headers or {})
        return response
    if isinstance(error, Refused):
        return refusal(error)
    return refusal(Refused("a mistake of the server's; it is in its log", 500))


@dataclass(frozen=True)
class _Told:
    """The routes that no model is asked for."""

    service: Service
    gate: Gate
    meters: Meters
    keyed: bool

    async def health(self, _: Request) -> Response:
        state = self.service.health.state
        return _json({"status": state}, 200 if state == "ok" else 503)

    async def metrics(self, _: Request) -> Response:
        health = self.service.health
        self.meters.set("failures_total", health.failures)
        gauges = {"inside": self.gate.inside, "healthy": float(health.state == "ok")}
        return PlainTextResponse(self.meters.text(gauges))

    async def models(self, _: Request) -> Response:
        return _json({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        name, served = request.path_params["model"], self.service.served
        if name not in (served.name, served.id):
            raise unknown_model(name)
        return _json(self._model())

    async def openapi(self, _: Request) -> Response:
        return _json(document(self.service.served, keyed=self.keyed))

    async def embeddings(self, _: Request) -> Response:
        raise Refused("this server has no embeddings", 404, code="unsupported")

    def _model(self) -> dict[str, Any]:
        served = self.service.served
        return {
            "id": served.name,
            "object": "model",
            "created": served.created,
            "owned_by": "ontogeny",
            "root": served.id,
            "max_model_len": served.context,
        }


def _json(value: Mapping[str, Any], status: int = 200) -> Response:
    return Response(encoded(value), status, media_type="application/json")


def application(
    service: Service,
    gate: Gate,
    keys: Keys,
    meters: Meters,
    log: Log | None = None,
    hosts: tuple[str, ...] = LOOPBACK,
) -> Front:
    """Everything that answers, as an application of ASGI 3."""
    told = _Told(service, gate, meters, bool(keys))
    chat = Answering(service, gate, meters, chat_asked)
    completions = Answering(service, gate, meters, completion_asked)
    routes = Starlette(
        routes=[
            Route(OPEN, told.health),
            Route("/metrics", told.metrics),
            Route("/openapi.json", told.openapi),
            Route("/v1/models", told.models),
            Route("/v1/models/{model:path}", told.model),
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/completions", completions, methods=["POST"]),
            Route("/v1/embeddings", told.embeddings, methods=["POST"]),
        ],
        exception_handlers={Refused: _refused, HTTPException: _refused, Exception: _refused},
    )
    routes.router.redirect_slashes = False
    return Front(routes, keys, meters, log, hosts)
