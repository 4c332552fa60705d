"""Who answers whom: shares that stick, a switch that nobody notices, a shadow that nobody hears."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from serve.running import CONTEXT, NAME, SAY, Inside, Reply, endless, inside, policy, served
from support.bench import small_tokenizer
from support.releases import fond_of, gate_of, model_of
from support.shelf import identity

from ontogeny.base.errors import NoSpace
from ontogeny.base.store import Store
from ontogeny.bridge import load_policy
from ontogeny.bridge.local_policy import LocalPolicy
from ontogeny.feedback.channel import channel_file
from ontogeny.feedback.ledger import Ledger
from ontogeny.feedback.promotion import end_share, promote, roll_back, set_share
from ontogeny.infer.engine import Engine
from ontogeny.serve.aside import Aside
from ontogeny.serve.fleet import Fleet, Lineup, place_of
from ontogeny.serve.following import Following, Loaded
from ontogeny.serve.recording import Recorder
from ontogeny.serve.service import Service
from ontogeny.serve.shadow import MOST_WAITING

CHAT = "/v1/chat/completions"
LIVE = served().id
GREEDY = {"temperature": 0.0, "max_tokens": 12}


def another(number: int, says: str = "B") -> Service:
    """One more model, begun; whose fleet ends it."""
    engine = Engine(fond_of(says, CONTEXT), 4, CONTEXT, admission="ready")
    aside = Aside(LocalPolicy(engine, small_tokenizer()))
    aside.begin()
    return Service(replace(served(), id=identity(number)), aside)


def who(reply: Reply) -> str:
    """Id of the artifact that answered."""
    assert reply.status == 200, reply.body
    return str(reply.json["system_fingerprint"]).removeprefix("fp_")


async def until(holds: Callable[[], bool]) -> None:
    """Waits for it, a minute at most."""
    for _ in range(1200):
        if holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to hold")


PEOPLE = [f"user-{number}" for number in range(2000)]


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
def test_a_share_is_met_in_expectation_and_everybody_stays_where_they_are(share: float) -> None:
    async def play(app: Inside) -> None:
        app.fleet.stand(Lineup(app.service, another(2), share))
        found = [app.fleet.pick("key", person).arm for person in PEOPLE]
        assert found == [app.fleet.pick("key", person).arm for person in PEOPLE]
        assert found != [app.fleet.pick("other", person).arm for person in PEOPLE]
        wanted = len(PEOPLE) * share
        chi_square = (found.count("canary") - wanted) ** 2 / (wanted * (1 - share))
        assert chi_square < 10.83  # one degree of freedom, 0.1 %

    inside(play)


def test_places_are_spread_evenly_and_each_model_and_arm_has_an_order_of_its_own() -> None:
    def places(arm: str, model_: str) -> list[float]:
        return [place_of(arm, model_, "", person) for person in PEOPLE]

    first = places("canary", identity(1))
    bins = [sum(each * 20 // 1 == place for each in first) for place in range(20)]
    wanted = len(PEOPLE) / 20
    assert sum((count - wanted) ** 2 / wanted for count in bins) < 43.8  # 19 degrees, 0.1 %
    for others in (places("canary", identity(2)), places("shadow", identity(1))):
        pairs = torch.corrcoef(torch.tensor([first, others]))
        assert abs(float(pairs[0, 1])) < 0.09


def test_who_has_the_canary_keeps_it_when_the_share_grows() -> None:
    async def play(app: Inside) -> None:
        canary, found = another(2), []
        for share in (0.1, 0.3):
            app.fleet.stand(Lineup(app.service, canary, share))
            arms = [app.fleet.pick("", person).arm for person in PEOPLE]
            found.append({p for p, arm in zip(PEOPLE, arms, strict=True) if arm == "canary"})
        assert found[0] < found[1]

    inside(play)


def test_who_cannot_be_told_apart_is_drawn_each_time() -> None:
    async def play(app: Inside) -> None:
        app.fleet.stand(Lineup(app.service, another(2), 0.5))
        found = [app.fleet.pick("", "").arm for _ in range(400)]
        assert 120 < found.count("canary") < 280

    inside(play)


def test_a_body_says_who_asks_and_clients_see_one_name() -> None:
    async def play(app: Inside) -> None:
        canary = another(2)
        app.fleet.stand(Lineup(app.service, canary, 0.5))
        for person in PEOPLE[:12]:
            wanted = app.fleet.pick("", person)
            for more in ({}, {"stream": True}, {"prompt_cache_key": "x"}):
                reply = await app.chat(user=person, **more)
                told = reply.events[0] if "stream" in more else reply.json
                assert told["system_fingerprint"] == f"fp_{wanted.service.served.id}"
                assert told["model"] == NAME
        listed = (await app.ask("/v1/models", method="GET")).json["data"]
        assert [(each["id"], each["root"]) for each in listed] == [(NAME, LIVE)]
        text = (await app.ask("/metrics", method="GET")).body.decode()
        assert f'ontogeny_model_info{{arm="live",id="{LIVE}"}} 1' in text
        assert f'ontogeny_model_info{{arm="canary",id="{identity(2)}"}} 1' in text
        counted = re.findall(r'ontogeny_answers_total\{arm="(\w+)"\} (\d+)', text)
        assert {arm for arm, _ in counted} == {"live", "canary"}
        assert sum(int(number) for _, number in counted) == 36

    inside(play)


def test_an_id_instead_of_the_name_asks_that_model_and_never_a_shadow() -> None:
    async def play(app: Inside) -> None:
        app.fleet.stand(Lineup(app.service, another(2), 1.0, another(3), 1.0))
        assert who(await app.chat()) == identity(2)
        assert who(await app.chat(model=LIVE)) == LIVE
        assert who(await app.chat(model=identity(2))) == identity(2)
        for unknown in (identity(3), identity(4)):
            reply = await app.chat(model=unknown)
            assert (reply.status, reply.json["error"]["code"]) == (404, "model_not_found")
            assert (await app.ask(f"/v1/models/{unknown}", method="GET")).status == 404
        told = await app.ask(f"/v1/models/{identity(2)}", method="GET")
        assert told.json["root"] == identity(2)

    inside(play)


def test_a_canary_that_fails_is_asked_nothing_until_it_answers_again() -> None:
    async def play(app: Inside) -> None:
        canary = another(2)
        app.fleet.stand(Lineup(app.service, canary, 1.0))
        canary.health.failed("it broke")
        assert who(await app.chat()) == LIVE
        health = await app.ask("/health", method="GET")
        assert health.status == 200 and f"canary {identity(2)} has failed" in health.json["note"]
        await until(lambda: canary.health.state == "ok")
        assert who(await app.chat()) == identity(2)
        assert "note" not in (await app.ask("/health", method="GET")).json

    inside(play)


def test_answers_under_way_end_where_they_began_and_then_the_old_one_is_gone() -> None:
    async def play(app: Inside) -> None:
        first = another(2, "A")
        app.fleet.stand(Lineup(first))
        engine = weakref.ref(first.policy._policy.engine)  # type: ignore[union-attr]
        under_way = asyncio.create_task(app.ask(CHAT, endless(600, stream=True)))
        await until(lambda: app.gate.inside == 1 and engine().busy)  # type: ignore[union-attr]
        app.fleet.stand(Lineup(another(3, "B")))
        del first
        assert who(await app.chat()) == identity(3)
        assert not under_way.done() and app.fleet.find(identity(2)) is not None
        events = (await under_way).events
        assert {each["system_fingerprint"] for each in events} == {f"fp_{identity(2)}"}
        assert events[-1]["choices"][0]["finish_reason"] == "length"
        await until(lambda: app.fleet.find(identity(2)) is None)
        await until(lambda: gc.collect() >= 0 and engine() is None)  # and its memory with it
        assert app.fleet.switches == 2

    inside(play)


def test_one_that_comes_back_before_it_has_ended_stays() -> None:
    async def play(app: Inside) -> None:
        first, second = another(2), another(3)
        app.fleet.stand(Lineup(first))
        with app.fleet.held(first):
            app.fleet.stand(Lineup(second))
            app.fleet.stand(Lineup(first))
        assert who(await app.chat()) == identity(2)
        await until(lambda: app.fleet.find(identity(3)) is None)

    inside(play)


class Park:
    """A store with models 1 to 3 that say A, B and C; 1 is live, and a fleet follows."""

    def __init__(self, root: Path) -> None:
        self.store = Store.create(root / "life")
        self.models = [model_of(self.store, n, says) for n, says in ((1, "A"), (2, "B"), (3, "C"))]
        self.broken = ""
        promote(self.store, NAME, self.models[0], None)

    def load(self, model_: str) -> Loaded:
        """As the command does, on four slots."""
        if self.broken:
            raise NoSpace(self.broken, file="somewhere")
        local, tokenizer = load_policy(self.store.get(model_), 4, admission="ready")
        return replace(served(), id=model_, context=512, tokenizer=tokenizer), local

    def gate(self, candidate: int, released: int) -> Any:
        return gate_of(
            self.store, 100 + 10 * candidate + released, identity(candidate), identity(released)
        )

    def follow(self, fleet: Fleet, *, shadows: bool = True) -> None:
        fleet.beside(Following(fleet, self.store, NAME, self.load, shadows=shadows).run())


def live_is(fleet: Fleet, number: int) -> Callable[[], bool]:
    return lambda: fleet.live.served.id == identity(number)


def test_a_fleet_follows_its_channel_there_and_back(tmp_path: Path) -> None:
    park = Park(tmp_path)

    async def play(app: Inside) -> None:
        park.follow(app.fleet)
        await until(live_is(app.fleet, 1))
        told = [(await app.chat(**GREEDY)).json["choices"]]
        promote(park.store, NAME, park.models[1], park.gate(2, 1))
        await until(live_is(app.fleet, 2))
        told.append((await app.chat(**GREEDY)).json["choices"])
        roll_back(park.store, NAME)
        await until(live_is(app.fleet, 1))
        told.append((await app.chat(**GREEDY)).json["choices"])
        assert told[0] == told[2] != told[1]
        assert "AAA" in told[0][0]["message"]["content"]
        assert "BBB" in told[1][0]["message"]["content"]
        text = (await app.ask("/metrics", method="GET")).body.decode()
        assert "ontogeny_switches_total 3" in text and "ontogeny_switch_failures_total 0" in text

    inside(play)


def test_a_canary_and_a_shadow_come_and_go_with_the_file_and_a_promotion(tmp_path: Path) -> None:
    park = Park(tmp_path)

    async def play(app: Inside) -> None:
        set_share(park.store, NAME, "canary", park.models[1], 0.5)
        set_share(park.store, NAME, "shadow", park.models[2], 1.0)
        park.follow(app.fleet)
        await until(lambda: app.fleet.lineup.shadow is not None)
        tried = app.fleet.lineup.canary
        assert tried is not None and app.fleet.lineup.canary_share == 0.5
        set_share(park.store, NAME, "canary", park.models[1], 1.0)
        await until(lambda: app.fleet.lineup.canary_share == 1.0)
        assert app.fleet.lineup.canary is tried  # not loaded again
        promote(park.store, NAME, park.models[1], park.gate(2, 1))
        await until(live_is(app.fleet, 2))
        assert app.fleet.live is tried and app.fleet.lineup.canary is None
        end_share(park.store, NAME, "shadow")
        await until(lambda: app.fleet.lineup.shadow is None)
        await until(lambda: app.fleet.find(identity(3)) is None)

    inside(play)


@pytest.mark.parametrize("fault", ["memory", "bytes", "channel", "gone"])
def test_what_cannot_be_loaded_leaves_the_old_one_serving_and_is_told(
    tmp_path: Path, fault: str
) -> None:
    park = Park(tmp_path)

    async def play(app: Inside) -> None:
        park.follow(app.fleet)
        await until(live_is(app.fleet, 1))
        allowed, file = park.gate(2, 1), channel_file(park.store, NAME)
        if fault == "memory":
            park.broken = "no room for two"
        promote(park.store, NAME, park.models[1], allowed)
        weights = park.models[1].path / "model.safetensors"
        if fault == "bytes":  # after it was promoted, before the server looks
            weights.write_bytes(b"x" + weights.read_bytes()[1:])
        elif fault == "channel":
            file.write_text("{")
        elif fault == "gone":
            file.unlink()
        await until(lambda: bool(app.fleet.note))
        reason = {"memory": "no room for two", "bytes": "sha256"}.get(fault, "channel")
        health = await app.ask("/health", method="GET")
        assert (health.status, health.json["status"]) == (200, "ok")
        assert reason in health.json["note"] and f"{identity(1)} goes on" in health.json["note"]
        assert str(tmp_path) not in health.json["note"]  # who asks needs no key for this
        assert who(await app.chat()) == identity(1)
        text = (await app.ask("/metrics", method="GET")).body.decode()
        assert "ontogeny_switch_failures_total 1" in text
        park.broken = ""
        if fault in ("channel", "gone"):
            file.unlink(missing_ok=True)
            promote(park.store, NAME, park.models[0], None)
        else:
            roll_back(park.store, NAME)
        await until(lambda: not app.fleet.note)
        assert who(await app.chat()) == identity(1)

    inside(play)


def test_what_failed_is_tried_again_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ontogeny.serve.following.FIRST_RETRY_SECONDS", 0.1)
    park = Park(tmp_path)

    async def play(app: Inside) -> None:
        park.broken = "somebody else has the memory"
        park.follow(app.fleet)
        await until(lambda: app.fleet.failures > 1)
        park.broken = ""
        await until(live_is(app.fleet, 1))
        assert not app.fleet.note

    inside(play)


def test_what_fails_slowly_is_not_tried_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ontogeny.serve.following.FIRST_RETRY_SECONDS", 0.4)
    park = Park(tmp_path)
    times: list[float] = []

    def slowly(_: str) -> Loaded:
        times.append(time.monotonic())
        time.sleep(1.0)  # a large model, read to its end before it is refused
        times.append(time.monotonic())
        raise NoSpace("no room for two", file="somewhere")

    park.load = slowly  # type: ignore[method-assign]

    async def play(app: Inside) -> None:
        park.follow(app.fleet)
        await until(lambda: len(times) > 2)

    inside(play)
    assert times[2] - times[1] > 0.4


def test_a_rollback_while_the_new_one_is_being_loaded_keeps_it_from_standing(
    tmp_path: Path,
) -> None:
    park = Park(tmp_path)
    loading, go = threading.Event(), threading.Event()
    load = park.load

    def slowly(model_: str) -> Loaded:
        found = load(model_)
        if model_ == identity(2):
            loading.set()
            assert go.wait(60)
        return found

    park.load = slowly  # type: ignore[method-assign]

    async def play(app: Inside) -> None:
        park.follow(app.fleet)
        await until(live_is(app.fleet, 1))
        promote(park.store, NAME, park.models[1], park.gate(2, 1))
        await until(loading.is_set)
        assert who(await app.chat()) == identity(1)  # it answers meanwhile
        roll_back(park.store, NAME)
        go.set()
        set_share(park.store, NAME, "canary", park.models[2], 1.0)
        await until(lambda: app.fleet.lineup.canary is not None)
        assert app.fleet.switches == 1 and live_is(app.fleet, 1)()

    inside(play)


def test_a_trial_ends_though_the_live_model_cannot_be_loaded(tmp_path: Path) -> None:
    park = Park(tmp_path)

    async def play(app: Inside) -> None:
        set_share(park.store, NAME, "canary", park.models[2], 1.0)
        park.follow(app.fleet)
        await until(lambda: app.fleet.lineup.canary is not None)
        park.broken = "no room for two"
        promote(park.store, NAME, park.models[1], park.gate(2, 1))
        await until(lambda: bool(app.fleet.note))
        assert who(await app.chat()) == identity(3)  # one that still stands in the file goes on
        end_share(park.store, NAME, "canary")
        await until(lambda: app.fleet.lineup.canary is None)
        assert who(await app.chat()) == identity(1) and "no room for two" in app.fleet.note

    inside(play)


def test_a_share_that_changes_while_a_model_is_being_loaded_does_not_begin_it_anew(
    tmp_path: Path,
) -> None:
    park = Park(tmp_path)
    loading, go = threading.Event(), threading.Event()
    load, loads = park.load, []

    def slowly(model_: str) -> Loaded:
        loads.append(model_)
        found = load(model_)
        if model_ == identity(2):
            loading.set()
            assert go.wait(60)
        return found

    park.load = slowly  # type: ignore[method-assign]

    async def play(app: Inside) -> None:
        park.follow(app.fleet)
        await until(live_is(app.fleet, 1))
        promote(park.store, NAME, park.models[1], park.gate(2, 1))
        await until(loading.is_set)
        set_share(park.store, NAME, "canary", park.models[2], 0.5)
        go.set()
        await until(lambda: app.fleet.lineup.canary_share == 0.5)
        assert live_is(app.fleet, 2)() and loads == [identity(1), identity(2), identity(3)]

    inside(play)


def told(reply: Reply) -> Any:
    """What a client hears, but for what is drawn or timed anew."""
    return {key: each for key, each in reply.json.items() if key not in ("id", "created")}


def rows(path: Path) -> list[Any]:
    ledger = Ledger.open(path, make=False)
    try:
        return list(ledger.rows()[0])
    finally:
        ledger.close()


def test_a_shadow_changes_nothing_that_clients_hear_and_its_answers_are_kept(
    tmp_path: Path,
) -> None:
    asks = [
        {"user": person, "logprobs": True, "messages": [{"role": "user", "content": person}]}
        for person in PEOPLE[:6]
    ]
    heard: dict[bool, list[Any]] = {}
    for shadowed in (False, True):
        path = tmp_path / f"{shadowed}.ledger"
        recorder = Recorder(path)

        async def play(app: Inside, shadowed: bool = shadowed) -> list[Any]:
            if shadowed:
                app.fleet.stand(Lineup(app.service, shadow=another(3), shadow_share=1.0))
            found = [told(await app.chat(**GREEDY, **each)) for each in asks]
            assert (await app.chat(store=False)).status == 200
            meters = app.app.meters
            wanted = '{fate="answered"} 6' if shadowed else ""
            await until(lambda: wanted in meters.text({}))
            return found

        heard[shadowed] = inside(play, recorder=recorder)
        recorder.close()
    assert heard[False] == heard[True]
    plain, both = rows(tmp_path / "False.ledger"), rows(tmp_path / "True.ledger")
    assert [each.arm for each in plain] == ["live"] * 6
    live = [each for each in both if each.arm == "live"]
    shadow = [each for each in both if each.arm == "shadow"]
    assert [each.of for each in shadow] == [each.id for each in live]
    assert [each.messages for each in shadow] == [each.messages for each in live]
    assert {each.model for each in live} == {LIVE}
    assert {each.model for each in shadow} == {identity(3)}
    assert all("BBB" in each.answers[0].message.content for each in shadow)


def test_a_shadow_is_asked_only_while_a_slot_is_free_and_what_is_too_much_is_dropped(
    tmp_path: Path,
) -> None:
    recorder = Recorder(tmp_path / "ledger")

    async def play(app: Inside) -> None:
        app.fleet.stand(Lineup(app.service, shadow=another(3), shadow_share=1.0))
        meters = app.app.meters
        with app.gate.entered(4):  # all slots are somebody's
            for _ in range(MOST_WAITING + 3):
                assert (await app.chat(max_tokens=1, temperature=0.0)).status == 200
            assert "shadow_total{" not in re.sub(r'\{fate="dropped"\} 3', "", meters.text({}))
        await until(lambda: f'{{fate="answered"}} {MOST_WAITING}' in meters.text({}))
        assert 'shadow_total{fate="dropped"} 3' in meters.text({})

    inside(play, recorder=recorder)
    recorder.close()


def test_a_shadow_is_not_asked_what_no_ledger_keeps(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "ledger")

    async def play(app: Inside) -> None:
        app.fleet.stand(Lineup(app.service, shadow=another(3), shadow_share=1.0))
        body = {"model": NAME, "max_tokens": 2}
        for prompt in (["one", "two"], "one"):
            reply = await app.ask("/v1/completions", body | {"prompt": prompt})
            assert reply.status == 200
        await until(lambda: '{fate="answered"} 1' in app.app.meters.text({}))

    inside(play, recorder=recorder)
    recorder.close()
    assert [each.arm for each in rows(tmp_path / "ledger")] == ["live", "shadow"]


def test_without_a_ledger_no_shadow_is_loaded_and_health_says_so(tmp_path: Path) -> None:
    park = Park(tmp_path)

    async def play(app: Inside) -> None:
        set_share(park.store, NAME, "shadow", park.models[2], 1.0)
        park.follow(app.fleet, shadows=False)
        await until(lambda: "--ledger" in app.fleet.note)
        assert app.fleet.lineup.shadow is None

    inside(play)


def test_a_canarys_answers_are_kept_as_such(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "ledger")

    async def play(app: Inside) -> None:
        app.fleet.stand(Lineup(app.service, another(2), 1.0))
        assert (await app.chat(max_tokens=5)).status == 200

    inside(play, recorder=recorder)
    recorder.close()
    assert [(each.arm, each.model) for each in rows(tmp_path / "ledger")] == [
        ("canary", identity(2))
    ]


def test_what_was_read_before_is_not_used_after_somebody_was_forgotten() -> None:
    local = policy()
    content = " ".join(["remember the weather of yesterday"] * 8)
    say = {"messages": [{"role": "user", "content": content}], "max_tokens": 2}

    async def play(app: Inside) -> list[int]:
        found = []
        for forgets in (False, False, True, False):
            if forgets:
                app.fleet.forget()
            before = local.engine.counts.reused_tokens
            assert (await app.chat(**say)).status == 200
            found.append(local.engine.counts.reused_tokens - before)
        return found

    first, again, after, then = inside(play, of=local)
    assert first == after == 0 and again == then > 16


def test_no_route_says_who_answers() -> None:
    """Promotion is by file: whoever holds a key can ask, and nothing else."""
    changes = [{"live": identity(2)}, {"model": identity(2), "share": 1}, SAY]
    places = ["promote", "rollback", "channel", "channels/released", "canary", "shadow", "fleet"]

    async def play(app: Inside) -> None:
        canary = another(2)
        lineup = Lineup(app.service, canary, 0.0)
        app.fleet.stand(lineup)
        routes = {route.path for route in app.app.routes.routes}  # type: ignore[attr-defined]
        assert routes == {
            "/health",
            "/metrics",
            "/openapi.json",
            "/v1/models",
            "/v1/models/{model:path}",
            "/v1/chat/completions",
            "/v1/completions",
            "/v1/embeddings",
            "/v1/feedback",
        }
        for path in [*routes, *(f"/{place}" for place in places), *(f"/v1/{p}" for p in places)]:
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                for body in changes:
                    await app.ask(path, body, method=method)
        assert app.fleet.lineup is lineup and not app.fleet.switches

    inside(play)
