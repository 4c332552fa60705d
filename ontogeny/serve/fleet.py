"""Which model answers a request: the live one, or a canary for a share of those who ask.

Knows no HTTP and no file; who stands where is `following`'s to say, a shadow is `shadow`'s to ask.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ontogeny.feedback.exchange import Arm
from ontogeny.serve.fields import Fields, read_object
from ontogeny.serve.service import READERS, Service
from ontogeny.serve.wanted import ASKERS, MOST_NAME, person_of

SMALL_BYTES = 16 << 10
"""Of a body that is read sooner than a thread would begin with it."""
_BITS = 53
"""Of a digest that become a number from 0 to 1: as many as a float holds."""


@dataclass(frozen=True)
class Lineup:
    """Who stands where.

    Args:
        live: answers whom nobody else does.
        canary: answers the share `canary_share` of those who ask.
        shadow: is asked again what the share `shadow_share` of them asked; nobody hears it.
    """

    live: Service
    canary: Service | None = None
    canary_share: float = 0.0
    shadow: Service | None = None
    shadow_share: float = 0.0

    @property
    def services(self) -> tuple[Service, ...]:
        """All of them, each once."""
        found = (self.live, self.canary, self.shadow)
        return tuple(dict.fromkeys(each for each in found if each is not None))


@dataclass(frozen=True)
class Chosen:
    """Who answers one request.

    Attributes:
        arm: which share of the traffic this is.
        shadow: who is asked the same afterwards; None: nobody.
    """

    service: Service
    arm: Arm
    shadow: Service | None = None


class Fleet:
    """The services behind one address. All its methods belong to one event loop.

    Args:
        live: answers all requests until `stand` says otherwise.

    Attributes:
        warnings: what people should know although requests are answered, by what it is about.
        switches, failures: how often another model stood live, and could not be made to stand.
    """

    def __init__(self, live: Service) -> None:
        self.lineup = Lineup(live)
        self.warnings: dict[str, str] = {}
        self.switches = self.failures = 0
        self._users: Counter[Service] = Counter()
        self._leaving: set[Service] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._beside: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._readers = ThreadPoolExecutor(READERS, "body")

    @property
    def live(self) -> Service:
        """Who answers whom nobody else does."""
        return self.lineup.live

    @property
    def note(self) -> str:
        """What people should know although requests are answered; "" for nothing."""
        told = list(self.warnings.values())
        for arm, service in (("canary", self.lineup.canary), ("shadow", self.lineup.shadow)):
            if service is not None and service.health.state == "failing":
                told.append(f"the {arm} {service.served.id} has failed and is asked nothing")
        return "; ".join(told)

    def find(self, model: str) -> Service | None:
        """The service of this artifact, if it stands or has not ended yet."""
        return next((each for each in self._all if each.served.id == model), None)

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Does something beside answering, until it ends or the fleet is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def check(self) -> None:
        """Lets nobody in where there is no answer to be had.

        Raises:
            Refused: 503.
        """
        self.live.health.check()

    async def parsed(self, data: bytes) -> Mapping[str, Any]:
        """A body's JSON; a large one is read aside.

        Raises:
            Refused: 400; it is none.
        """
        if len(data) <= SMALL_BYTES:
            return read_object(data)
        return await asyncio.get_running_loop().run_in_executor(self._readers, read_object, data)

    @contextmanager
    def chosen(self, owner: str, body: Mapping[str, Any]) -> Iterator[Chosen]:
        """Who answers this body; inside, its model stays where it is.

        A body that names an artifact's id instead of the name that all have is answered by that
        one, if it answers anybody.

        Args:
            owner: name of the key that asks, "" without keys.

        Raises:
            Refused: 400; the fields that tell who asks are not what they should be.
        """
        named = self.named(body.get("model"))
        if named is None:
            found = self.pick(owner, _asker(body))
        else:
            found = Chosen(named, "live" if named is self.live else "canary")
        with self.held(found.service):
            yield found

    @contextmanager
    def held(self, service: Service) -> Iterator[None]:
        """Inside, this model stays where it is, even if nobody new is sent to it."""
        self._users[service] += 1
        try:
            yield
        finally:
            self._users[service] -= 1
            self._end_unused()

    def pick(self, owner: str, asker: str) -> Chosen:
        """Who answers `asker` behind the key `owner`: the same one each time, while it is there.

        Where neither says anything, nobody can be told apart and each request is drawn anew.
        """
        who = [owner, asker] if owner or asker else [secrets.token_hex(8)]
        lineup = self.lineup
        if _falls_to("canary", lineup.canary, lineup.canary_share, who):
            assert lineup.canary is not None
            return Chosen(lineup.canary, "canary")
        shadowed = _falls_to("shadow", lineup.shadow, lineup.shadow_share, who)
        return Chosen(lineup.live, "live", lineup.shadow if shadowed else None)

    def named(self, model: object) -> Service | None:
        """Who answers by an artifact's id; a shadow answers nobody."""
        answering = (self.live, self.lineup.canary)
        return next((each for each in answering if each and each.served.id == model), None)

    def stand(self, lineup: Lineup) -> None:
        """From now on new requests go to these.

        Who stands no more ends as soon as what it is asked is answered, and its memory is free.
        """
        self._leaving |= {each for each in self.lineup.services if each not in lineup.services}
        self._leaving -= set(lineup.services)
        self.switches += lineup.live is not self.live
        self.lineup = lineup
        if self._stopping:
            self.stop()
        self._end_unused()

    def _end_unused(self) -> None:
        for service in [each for each in self._leaving if not self._users[each]]:
            self._leaving.discard(service)
            del self._users[service]
            task = asyncio.get_running_loop().create_task(service.end())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    @property
    def _all(self) -> set[Service]:
        return {*self.lineup.services, *self._leaving}

    def forget(self) -> None:
        """No model uses again what it has read so far."""
        for service in self._all:
            service.policy.forget()

    def stop(self) -> None:
        """Lets nobody new in; answers under way go on."""
        self._stopping = True
        for service in self._all:
            service.health.stopping = True

    def cut(self) -> None:
        """Ends all answers under way, and those yet to begin."""
        for service in self._all:
            service.cut()

    async def close(self) -> None:
        """Nothing is left running, but for the policies of those who stand or are still asked."""
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        self._readers.shutdown(wait=False, cancel_futures=True)
        await asyncio.gather(*(service.close() for service in self._all), *self._ending)

    async def end(self) -> None:
        """The policies of those who stand end, too; for whoever did not make them."""
        await self.close()
        await asyncio.gather(*(service.end() for service in self._all))


def _asker(body: Mapping[str, Any]) -> str:
    """Who stays with one model: a person, or what the client says belongs together."""
    fields = Fields(body)
    names = {name: fields.text(name, "", most=MOST_NAME) for name in ASKERS}
    return person_of(names["user"], names["safety_identifier"]) or names["prompt_cache_key"]


def place_of(arm: str, model: str, *who: str) -> float:
    """Where somebody stands between 0 and 1 for one arm of one model, evenly spread over people.

    Each model has an order of its own, so that not the same people try every candidate; one whose
    share grows keeps those whom it has.
    """
    data = hashlib.sha256(json.dumps([arm, model, *who]).encode()).digest()
    return float((int.from_bytes(data[:8], "big") >> (64 - _BITS)) / (1 << _BITS))


def _falls_to(arm: str, service: Service | None, share: float, who: list[str]) -> bool:
    """Whether the one of this arm is asked, too; one that has failed is asked nothing."""
    if service is None or service.health.state != "ok":
        return False
    return place_of(arm, service.served.id, *who) < share
