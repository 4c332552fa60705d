"""The application before a backend: the routes of `app`, answered by somebody else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ontogeny.serve.app import LOOPBACK, Front, front, json_of, routed
from ontogeny.serve.gate import Gate, Keys
from ontogeny.serve.library import PlainTextResponse, Request, Response
from ontogeny.serve.meters import Log, Meters
from ontogeny.serve.openapi import document
from ontogeny.serve.rating import Rated
from ontogeny.serve.recording import Recorder
from ontogeny.serve.relay import Relay, Relaying
from ontogeny.serve.relay_asked import (
    MOST_CONTEXT,
    chat_relayed,
    completion_relayed,
    embedding_relayed,
)
from ontogeny.serve.wanted import unknown_model


@dataclass(frozen=True)
class _Told:
    """The routes that the backend is not asked for."""

    relay: Relay
    gate: Gate
    meters: Meters
    keyed: bool
    recorder: Recorder | None

    async def health(self, _: Request) -> Response:
        state, note = self.relay.health.state, ""
        if state == "ok" and self.recorder is not None and self.recorder.reason:
            state, note = "failing", self.recorder.reason
        told = {"status": state} | ({"note": note} if note else {})
        return json_of(told, 200 if state == "ok" else 503)

    async def metrics(self, _: Request) -> Response:
        health = self.relay.health
        self.meters.set("failures_total", health.failures)
        gauges = {"inside": self.gate.inside, "healthy": float(health.state == "ok")}
        return PlainTextResponse(self.meters.text(gauges))

    async def models(self, _: Request) -> Response:
        return json_of({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        name, model = request.path_params["model"], self.relay.model
        if name not in model.names:
            raise unknown_model(name)
        return json_of(self._model())

    async def openapi(self, _: Request) -> Response:
        rated = self.recorder is not None
        return json_of(document(self.relay.model, keyed=self.keyed, rated=rated))

    def _model(self) -> dict[str, Any]:
        model = self.relay.model
        told = {
            "id": model.name,
            "object": "model",
            "created": model.created,
            "owned_by": "backend",
        }
        return told | ({"max_model_len": model.context} if model.context < MOST_CONTEXT else {})


def relaying_application(
    relay: Relay,
    gate: Gate,
    keys: Keys,
    meters: Meters,
    log: Log | None = None,
    hosts: tuple[str, ...] = LOOPBACK,
    recorder: Recorder | None = None,
) -> Front:
    """Everything that answers, as an application of ASGI 3."""
    told = _Told(relay, gate, meters, bool(keys), recorder)
    rated = Rated(relay, gate, meters, recorder)
    known = (relay, gate, meters)
    chat = Relaying(*known, "/chat/completions", chat_relayed, recorder)
    completions = Relaying(*known, "/completions", completion_relayed, recorder)
    embeddings = Relaying(*known, "/embeddings", embedding_relayed)
    routes = routed(told, chat, completions, embeddings, rated)
    return front(routes, keys, meters, log, hosts)
