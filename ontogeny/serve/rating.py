"""POST /v1/feedback: what a user says of an answer. Knows no model; `Recorder` keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ontogeny.serve.gate import Gate
from ontogeny.serve.library import Request, Response
from ontogeny.serve.meters import Meters
from ontogeny.serve.reading import Gone, read_body
from ontogeny.serve.recording import Recorder
from ontogeny.serve.refusal import Refused
from ontogeny.serve.shapes import encoded


class Parses(Protocol):
    """Whoever answers the other routes."""

    async def parsed(self, data: bytes) -> Mapping[str, Any]:
        """A body's JSON, read aside."""
        ...


@dataclass(frozen=True)
class Rated:
    """The route.

    Args:
        recorder: None: this server keeps no ledger.
    """

    parses: Parses
    gate: Gate
    meters: Meters
    recorder: Recorder | None

    async def answer(self, request: Request) -> Response:
        """One rating, on the disk before the answer goes out.

        Raises:
            Refused: see `Recorder.rated`; 404 without a ledger.
        """
        if self.recorder is None:
            raise Refused("this server keeps no ledger", 404, code="unsupported")
        note = request.scope["note"]
        self.gate.check_rate(note.owner)
        try:
            data = await read_body(request.scope, request.receive, self.gate.limits)
        except Gone:
            note.ended = "client left"
            return Response(status_code=499)  # nobody hears it
        with self.gate.reading():
            body = await self.parses.parsed(data)
        key = request.headers.get("idempotency-key")
        told = await self.recorder.rated(body, note.owner, key)
        note.ended = "duplicate" if told["duplicate"] else "rated"
        self.meters.add("feedback_total", duplicate=str(told["duplicate"]).lower())
        return Response(encoded(told), media_type="application/json")
