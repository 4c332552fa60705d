"""What a live model has answered is asked of a shadow, too; the ledger alone hears its answer.

One at a time, and only while a slot is free for whoever comes. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from ontogeny.serve.fleet import Fleet
from ontogeny.serve.gate import Gate, salt_of
from ontogeny.serve.hearing import Hearing
from ontogeny.serve.meters import Meters
from ontogeny.serve.recording import Recorder
from ontogeny.serve.refusal import Refused
from ontogeny.serve.service import Read, Service

MOST_WAITING = 64
"""Requests that wait for a shadow; more are dropped and counted."""
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Repeat:
    """One request that a live model has answered.

    Args:
        body, read: what was asked, and how it is understood.
        owner: name of the key that asked.
        of: id of the live answer.
    """

    service: Service
    body: Mapping[str, Any]
    read: Read
    owner: str
    of: str


class Shadowing:
    """Asks shadows what the live model was asked.

    Args:
        recorder: None: there is no ledger, so nobody is asked.
    """

    def __init__(self, fleet: Fleet, gate: Gate, meters: Meters, recorder: Recorder | None) -> None:
        self._fleet, self._gate, self._meters, self._recorder = fleet, gate, meters, recorder
        self._waiting: deque[Repeat] = deque()
        self._busy = False

    def offer(self, repeat: Repeat) -> None:
        """Asks it some time later, unless too many wait. Called on the fleet's loop."""
        if self._recorder is None or repeat.body.get("store") is False:
            return
        if len(self._waiting) >= MOST_WAITING:
            self._count("dropped")
            return
        self._waiting.append(repeat)
        if not self._busy:
            self._busy = True
            self._fleet.beside(self._work())

    async def _work(self) -> None:
        try:
            while self._waiting:
                if self._gate.inside >= self._gate.limits.slots:
                    await asyncio.sleep(LOOK_SECONDS)
                    continue
                repeat = self._waiting.popleft()
                if repeat.service is not self._fleet.lineup.shadow:  # its trial has ended
                    self._count("dropped")
                    continue
                try:
                    await self._ask(repeat)
                    self._count("answered")
                except Refused:  # its context may be shorter, it may have failed
                    self._count("failed")
                except Exception:
                    self._count("failed")
                    raise
        finally:
            self._busy = False

    async def _ask(self, repeat: Repeat) -> None:
        service = repeat.service
        with self._fleet.held(service):
            body = {**repeat.body, "model": service.served.name}
            asked = await service.read(repeat.read, body)
            id_ = f"shadow-{secrets.token_hex(12)}"
            hearing = Hearing(
                self._recorder,
                Meters(),  # the server's count what clients hear
                asked,
                service.served,
                owner=repeat.owner,
                id_=id_,
                arm="shadow",
                of=repeat.of,
            )
            salt = salt_of(repeat.owner, asked.wanted.asker)
            answers = service.answers(asked, salt, self._gate.limits.seconds)
            async with aclosing(answers):
                async for index, piece in answers:
                    hearing.hear(index, piece)
            await hearing.end()

    def _count(self, fate: str) -> None:
        self._meters.add("shadow_total", fate=fate)
