"""What fails, or is too much at once, is told to those whom it concerns and to nobody else."""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from serve.running import SAY, Inside, inside, model, policy

from ontogeny.base.errors import InputError
from ontogeny.rollout.policy import Completion, PolicyFailed, Request
from ontogeny.serve.aside import Aside
from ontogeny.serve.gate import MOST_READ, Gate, Limits
from ontogeny.serve.refusal import Refused
from ontogeny.serve.service import MOST_TRIALS

CHAT = "/v1/chat/completions"


def test_a_model_that_fails_turns_health_red_until_it_answers_again() -> None:
    weights = model().embedding

    async def play(app: Inside) -> list[int]:
        found = [(await app.chat()).status]
        kept = weights.detach().clone()
        with torch.no_grad():
            weights.fill_(torch.nan)
        try:
            found.append((await app.chat()).status)
            found.append((await app.ask("/health", method="GET")).status)
            reply = await app.chat()
            found.append(reply.status)
            assert reply.headers["retry-after"] == "1"
        finally:
            with torch.no_grad():
                weights.copy_(kept)
        for _ in range(200):
            if (await app.ask("/health", method="GET")).status == 200:
                break
            await asyncio.sleep(0.05)
        found.append((await app.chat()).status)
        assert app.service.health.failures == 1
        return found

    assert inside(play) == [200, 503, 503, 503, 200]


class _Dies:
    """A policy whose thread ends under it, once."""

    def __init__(self) -> None:
        self.inner, self.dies = policy(), True

    async def sample(self, request: Request, sink: Any = None, **more: Any) -> Completion:
        if self.dies:
            self.dies = False
            raise SystemExit(3)
        return await self.inner.sample(request, sink, **more)


def test_a_thread_that_dies_is_begun_anew() -> None:
    async def play(app: Inside) -> list[int]:
        found = [(await app.chat()).status]
        for _ in range(200):
            found.append((await app.chat()).status)
            if found[-1] == 200:
                break
            await asyncio.sleep(0.05)
        return found

    statuses = inside(play, of=_Dies())
    assert statuses[0] == 503 and statuses[-1] == 200


class _EndsSlowly:
    """A policy by the request's length: 1 waits and is slow to go, 2 ends the loop, 3 waits."""

    def __init__(self) -> None:
        self.ending, self.asked = threading.Event(), threading.Event()

    async def sample(self, request: Request, *_: Any, **__: Any) -> Completion:
        if request.max_tokens == 2:
            raise SystemExit(3)
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            if request.max_tokens == 1:
                self.ending.set()
                self.asked.wait(10)


def test_who_asks_while_the_thread_dies_is_told() -> None:
    local = _EndsSlowly()

    async def play(aside: Aside) -> list[Any]:
        asking = []
        for length in (1, 2, 3):
            request = Request((1,), length)
            asking.append(asyncio.create_task(aside.sample(request, lambda *_: None)))
            if length != 1:
                assert await asyncio.to_thread(local.ending.wait, 10)
            await asyncio.sleep(0)
        local.asked.set()
        return await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 10)

    with Aside(local) as aside:
        assert all(isinstance(each, PolicyFailed) for each in asyncio.run(play(aside)))


class _Babbles:
    """A policy that says no id, where seven tokens are asked for."""

    def __init__(self) -> None:
        self.inner = policy()

    async def sample(self, request: Request, sink: Any = None, **more: Any) -> Completion:
        if request.max_tokens == 7:
            sink(-1, 0.0)
        return await self.inner.sample(request, sink, **more)


def test_a_mistake_in_telling_is_one_requests_alone() -> None:
    async def play(app: Inside) -> list[Any]:
        asking = [app.chat(max_tokens=7), app.chat(max_tokens=9), app.chat(stream=True)]
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert app.service.health.state == "ok" and not app.service.health.failures
        return found

    bad, *good = inside(play, of=_Babbles())
    assert isinstance(bad, InputError)  # starlette raises it again behind a 500
    assert [each.status for each in good] == [200, 200]


FORM = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "null"}}}


@pytest.mark.parametrize("grammars", [False, True])
def test_what_waits_to_be_understood_is_bounded_and_leaves_with_its_client(grammars: bool) -> None:
    more, most = ({"response_format": FORM}, MOST_TRIALS) if grammars else ({}, MOST_READ)

    async def play(app: Inside) -> None:
        service, held, leaves = app.service, threading.Event(), asyncio.Event()
        pool = service._trials if grammars else service._readers
        for _ in range(2):
            pool.submit(held.wait, 60)
        try:
            crowd = [
                asyncio.create_task(app.ask(CHAT, SAY | more, leaves=leaves)) for _ in range(most)
            ]
            for _ in range(2000):
                # all bodies pass through reading, so its counter may stand at `most` on the way
                if most == (service._trying if grammars else app.gate._reading):
                    break
                await asyncio.sleep(0.005)
            reply = await app.chat(**more)
            assert (reply.status, reply.json["error"]["code"]) == (503, "overloaded")
            assert not grammars or (await app.chat()).status == 200
            leaves.set()
            gone = await asyncio.wait_for(asyncio.gather(*crowd), 30)
            assert {each.status for each in gone} == {0}
        finally:
            held.set()
        assert (await app.chat(**more)).status == 200

    inside(play)


def test_who_was_being_read_when_all_is_cut_is_not_begun() -> None:
    async def play(app: Inside) -> list[Any]:
        app.service.cut()
        return [await app.chat(), await app.chat(stream=True)]

    for reply in inside(play):
        assert reply.status == 503 and b"stopping" in reply.body


def test_a_policy_aside_gives_back_its_slot_when_its_asker_leaves() -> None:
    local = policy(slots=1)

    async def play(aside: Aside) -> None:
        request = Request((1,), 3000)
        task = asyncio.create_task(aside.sample(request, lambda *_: None))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        heard: list[int] = []
        said = await aside.sample(Request((1,), 5), lambda id_, *_: heard.append(id_))
        assert tuple(heard) == said.ids

    with Aside(local) as aside:
        asyncio.run(play(aside))


def test_answers_that_end_together_do_not_make_the_pace_look_fast() -> None:
    now = [0.0]
    gate = Gate(Limits(slots=32, waiting=140, wait_seconds=5.0), lambda: now[0])
    inside = [ExitStack() for _ in range(172)]
    for each in inside:
        each.enter_context(gate.entered(1))
    for number, each in enumerate(inside[:95]):
        now[0] += 10.0 * (number % 32 == 0)  # a round of all slots
        each.close()
    with pytest.raises(Refused), gate.entered(1):  # behind 45 others: about 14 s
        pass
    for each in inside[95:]:
        each.close()


def test_the_queue_is_as_long_as_the_measured_pace_allows() -> None:
    now = [0.0]
    gate = Gate(Limits(slots=2, waiting=100, wait_seconds=5.0), lambda: now[0])
    inside = [ExitStack() for _ in range(102)]
    for each in inside:  # nothing is known yet: only their number counts
        each.enter_context(gate.entered(1))
    for each in inside[:92]:
        now[0] += 2.0
        each.close()
    with pytest.raises(Refused) as caught, gate.entered(1):  # behind eight others: 18 s
        pass
    assert (caught.value.status, caught.value.retry_after) == (503, 9)
    for each in inside[92:99]:
        now[0] += 2.0
        each.close()
    with gate.entered(1):  # behind one other: 4 s
        pass
    for each in inside[99:]:
        each.close()
    with gate.entered(16):  # more than there are slots, but nobody is before them
        assert gate.inside == 16
