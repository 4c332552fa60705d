"""Routes, and what surrounds each request: key, limits, log, the client who may leave.

Knows no model: `Fleet` says who answers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ontogeny.feedback.exchange import ARMS
from ontogeny.serve.answering import Answering, Note
from ontogeny.serve.asked import chat_asked, completion_asked
from ontogeny.serve.embedding import Embedding
from ontogeny.serve.fleet import Fleet
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
from ontogeny.serve.rating import Rated
from ontogeny.serve.recording import Recorder
from ontogeny.serve.refusal import Refused, shortened
from ontogeny.serve.service import Service
from ontogeny.serve.shadow import Shadowing
from ontogeny.serve.shapes import encoded
from ontogeny.serve.wanted import Served, unknown_model

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


class Tells(Protocol):
    """Answers the routes that no model is asked for."""

    async def health(self, _: Request) -> Response:
        """GET /health."""
        ...

    async def metrics(self, _: Request) -> Response:
        """GET /metrics."""
        ...

    async def models(self, _: Request) -> Response:
        """GET /v1/models."""
        ...

    async def model(self, request: Request) -> Response:
        """GET /v1/models/NAME."""
        ...

    async def openapi(self, _: Request) -> Response:
        """GET /openapi.json."""
        ...


@dataclass(frozen=True)
class _Told:
    """The routes that no model is asked for."""

    fleet: Fleet
    gate: Gate
    meters: Meters
    keyed: bool
    recorder: Recorder | None

    async def health(self, _: Request) -> Response:
        state, note = self.fleet.live.health.state, self.fleet.note
        if state == "ok" and self.recorder is not None and self.recorder.reason:
            state, note = "failing", self.recorder.reason
        told = {"status": state} | ({"note": note} if note else {})
        return json_of(told, 200 if state == "ok" else 503)

    async def metrics(self, _: Request) -> Response:
        health, lineup = self.fleet.live.health, self.fleet.lineup
        self.meters.set("failures_total", health.failures)
        self.meters.set("switches_total", self.fleet.switches)
        self.meters.set("switch_failures_total", self.fleet.failures)
        gauges = {"inside": self.gate.inside, "healthy": float(health.state == "ok")}
        for arm in ARMS:
            service: Service | None = getattr(lineup, arm)
            if service is not None:
                gauges[f'model_info{{arm="{arm}",id="{service.served.id}"}}'] = 1.0
        return PlainTextResponse(self.meters.text(gauges))

    async def models(self, _: Request) -> Response:
        return json_of({"object": "list", "data": [_model(self.fleet.live.served)]})

    async def model(self, request: Request) -> Response:
        name, live = request.path_params["model"], self.fleet.live
        found = live if name == live.served.name else self.fleet.named(name)
        if found is None:
            raise unknown_model(name)
        return json_of(_model(found.served))

    async def openapi(self, _: Request) -> Response:
        return json_of(
            document(self.fleet.live.served, keyed=self.keyed, rated=self.recorder is not None)
        )


def _model(served: Served) -> dict[str, Any]:
    return {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "ontogeny",
        "root": served.id,
        "max_model_len": served.context,
    }


def json_of(value: Mapping[str, Any], status: int = 200) -> Response:
    """A response of JSON."""
    return Response(encoded(value), status, media_type="application/json")


def application(
    fleet: Fleet,
    gate: Gate,
    keys: Keys,
    meters: Meters,
    log: Log | None = None,
    hosts: tuple[str, ...] = LOOPBACK,
    recorder: Recorder | None = None,
) -> Front:
    """Everything that answers, as an application of ASGI 3."""
    told = _Told(fleet, gate, meters, bool(keys), recorder)
    shadowing = Shadowing(fleet, gate, meters, recorder)
    chat = Answering(fleet, gate, meters, chat_asked, shadowing, recorder)
    completions = Answering(fleet, gate, meters, completion_asked, shadowing, recorder)
    rated = Rated(fleet, gate, meters, recorder)
    routes = routed(told, chat, completions, Embedding(fleet, gate, meters), rated)
    return front(routes, keys, meters, log, hosts)


def routed(
    told: Tells, chat: ASGIApp, completions: ASGIApp, embeddings: ASGIApp, rated: Rated
) -> list[Route]:
    """Every route there is, and who answers it."""
    return [
        Route(OPEN, told.health),
        Route("/metrics", told.metrics),
        Route("/openapi.json", told.openapi),
        Route("/v1/models", told.models),
        Route("/v1/models/{model:path}", told.model),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/completions", completions, methods=["POST"]),
        Route("/v1/feedback", rated.answer, methods=["POST"]),
        Route("/v1/embeddings", embeddings, methods=["POST"]),
    ]


def front(
    routes: list[Route], keys: Keys, meters: Meters, log: Log | None, hosts: tuple[str, ...]
) -> Front:
    """What stands before these routes, and how they refuse."""
    handlers = {Refused: _refused, HTTPException: _refused, Exception: _refused}
    inner = Starlette(routes=routes, exception_handlers=handlers)
    inner.router.redirect_slashes = False
    return Front(inner, keys, meters, log, hosts)
