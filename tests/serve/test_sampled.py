"""Traffic is told by arm and model, canaries beside the live model, and drift if there is any."""

from __future__ import annotations

import asyncio
import io
import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from support.exchanges import Crowd

from ontogeny.base.errors import InputError
from ontogeny.feedback.exchange import SILENCE, Answer, Exchange, Rating
from ontogeny.feedback.ledger import Ledger
from ontogeny.serve.meters import Log, Meters
from ontogeny.serve.sampled import Sampled
from ontogeny.serve.signals import LONGEST, judged, observed, scored
from ontogeny.serve.traffic import Looking, traffic, traffic_of
from ontogeny.text.message import Message, ToolCall


def exchange(*answers: Answer, id_: str = "chatcmpl-1") -> Exchange:
    return Exchange(
        id=id_, user="u", model="m", messages=(Message("user", "How?"),), answers=answers
    )


def said(text: str, finish: str = "stop", tokens: int = 64) -> Answer:
    return Answer(Message("assistant", text), finish, tokens)


def test_an_exchange_shows_refusals_cuts_and_lengths() -> None:
    shown = observed(exchange(said("I cannot help with that."), said("Yes: 7", "length")), 1.0)
    assert shown == {"refused": 0.5, "cut": 0.5, "length": 64 / LONGEST}
    assert observed(exchange(said("x" * 9, tokens=10**6)), 0.0) == {"cut": 0.0, "length": 1.0}


def test_what_nobody_heard_out_and_what_is_no_text_shows_nothing_of_itself() -> None:
    assert observed(exchange(said("I can", "cut"), Answer(SILENCE, "cut", 0)), 1.0) == {}
    call = Answer(Message("assistant", "", (ToolCall("f"),)), "tool_calls", 5)
    assert set(observed(exchange(call), 1.0)) == {"cut", "length"}


def test_the_judged_share_is_chosen_by_the_id_alone() -> None:
    many = [exchange(said("x"), id_=f"chatcmpl-{number}") for number in range(2000)]
    chosen = [each.id for each in many if judged(each, 0.2)]
    assert 320 < len(chosen) < 480
    assert {each.id for each in many if judged(each, 0.1)} < set(chosen)
    assert not any(judged(each, 0.0) for each in many)
    assert all(judged(each, 1.0) for each in many)


def test_a_rating_shows_its_score_if_it_has_one() -> None:
    rated = Rating(key="k", exchange="e", user="u", score=-1.0)
    assert scored(rated) == {"score": 0.0}
    assert scored(Rating(key="k", exchange="e", user="u", preferred=1)) == {}


def test_each_arm_and_model_is_told_by_itself() -> None:
    crowd = Crowd()
    crowd.ask(300, "old", liked=0.8)
    crowd.ask(100, "new", arm="canary", liked=0.2, refused=0.6)
    found = traffic(crowd.exchanges, crowd.ratings, Looking())
    old, new = found.groups
    assert [(old.arm, old.model), (new.arm, new.model)] == [("live", "old"), ("canary", "new")]
    assert (old.exchanges, new.exchanges) == (300, 100)
    assert old.ratings + new.ratings == len(crowd.ratings)
    assert old.levels["score"].low > 0.6
    assert new.levels["score"].high < 0.5
    assert new.levels["refused"].low > old.levels["refused"].high
    assert old.levels["score"].units <= crowd.people


def test_a_canary_is_compared_with_the_live_model_person_by_person() -> None:
    crowd = Crowd()
    crowd.ask(400, "old")
    crowd.ask(200, "new", arm="canary", refused=0.5, liked=0.7)
    beside = {each.signal: each for each in traffic(crowd.exchanges, [], Looking()).beside}
    assert "score" not in beside  # nobody rated
    assert beside["refused"].live == "old"
    assert beside["refused"].change.low > 0.2
    assert beside["cut"].change.low < 0 < beside["cut"].change.high


def test_a_shadow_is_compared_with_what_it_repeats() -> None:
    crowd = Crowd()
    crowd.ask(200, "old", refused=0.3)
    crowd.ask(200, "new", arm="shadow", refused=0.9)
    beside = {e.signal: e for e in traffic(crowd.exchanges, crowd.ratings, Looking()).beside}
    change = beside["refused"].change
    assert beside["refused"].arm == "shadow"
    assert change.low > 0.4
    assert change.units <= crowd.people


def test_a_shadow_is_beside_the_live_model_only_where_it_repeated_that_one() -> None:
    crowd = Crowd()
    crowd.ask(200, "old", refused=0.9)
    crowd.ask(200, "new", arm="shadow", refused=0.3)
    assert traffic(crowd.exchanges, [], Looking()).beside
    crowd.ask(50, "next", refused=0.3)
    assert not traffic(crowd.exchanges, [], Looking()).beside  # nothing of `next` was repeated
    crowd.ask(50, "new", arm="shadow", refused=0.3)
    beside = {each.signal: each for each in traffic(crowd.exchanges, [], Looking()).beside}
    assert beside["refused"].live == "next"
    assert beside["refused"].change.low < 0 < beside["refused"].change.high


def test_page_by_page_is_told_what_all_at_once_tells() -> None:
    crowd = Crowd(seed=3)
    crowd.ask(300, "old")
    crowd.ask(100, "new", arm="shadow", refused=0.5)
    crowd.ask(300, "old", refused=0.5)
    looking = Looking(first=100)
    pages = [
        (page, [each for each in crowd.ratings if each.exchange in {e.id for e in page}])
        for page in (crowd.exchanges[start : start + 70] for start in range(0, 700, 70))
    ]
    whole, parts = traffic(crowd.exchanges, crowd.ratings, looking), traffic_of(pages, looking)
    assert whole.alarms and parts.alarms == whole.alarms
    assert (parts.groups, parts.beside) == (whole.groups, whole.beside)


def test_an_alarm_stands_while_its_model_is_live() -> None:
    crowd = Crowd(seed=1)
    crowd.ask(300, "old")
    crowd.ask(300, "old", refused=0.6)
    looking = Looking(first=100)
    assert traffic(crowd.exchanges, [], looking).alarms
    crowd.ask(1, "new")
    found = traffic(crowd.exchanges, [], looking)
    assert not found.alarms
    assert [model for model, _ in found.past] == ["old"]


def test_one_persons_many_votes_weigh_as_one_person() -> None:
    crowd = Crowd()
    crowd.ask(200, "old", liked=1.0, rated=1.0)
    hostile = [
        replace(crowd.exchanges[0], id=f"chatcmpl-hostile-{number}", user="hostile")
        for number in range(2000)
    ]
    votes = [Rating(key=e.id, exchange=e.id, user="hostile", score=-1.0) for e in hostile]
    found = traffic([*crowd.exchanges, *hostile], [*crowd.ratings, *votes], Looking())
    assert found.groups[0].levels["score"].value > 0.95
    assert not found.alarms


def test_of_one_users_votes_on_one_answer_the_last_counts() -> None:
    crowd = Crowd(people=1)
    crowd.ask(1, "old", rated=0.0)
    votes = [
        Rating(key=str(n), exchange="chatcmpl-0", user="live0", score=score)
        for n, score in enumerate((1.0, 1.0, -1.0))
    ]
    (group,) = traffic(crowd.exchanges, votes, Looking()).groups
    assert (group.ratings, group.levels["score"].value) == (3, 0.0)


def test_drift_of_the_live_model_sets_off_an_alarm_and_quiet_traffic_none() -> None:
    crowd = Crowd(seed=1)
    crowd.ask(800, "old")
    assert not traffic(crowd.exchanges, crowd.ratings, Looking(first=100)).alarms
    crowd.ask(300, "old", refused=0.5)
    found = traffic(crowd.exchanges, crowd.ratings, Looking(first=100))
    assert [(model, each.signal, each.way) for model, each in found.alarms] == [
        ("old", "refused", "rose")
    ]


def test_another_live_model_has_a_reference_of_its_own() -> None:
    """A promoted model that refuses more is no drift: the gate has looked at that."""
    crowd = Crowd(seed=2)
    crowd.ask(400, "old", refused=0.05)
    crowd.ask(400, "new", refused=0.5)
    found = traffic(crowd.exchanges, crowd.ratings, Looking(first=100))
    assert not found.alarms
    assert set(found.watched) == {"old", "new"}


def test_what_is_older_is_left_out_of_levels_and_not_of_references() -> None:
    crowd = Crowd(seed=3)
    crowd.ask(300, "old", at=1000.0)
    crowd.ask(100, "old", at=2000.0)
    found = traffic(crowd.exchanges, crowd.ratings, Looking(first=200), since=1500.0)
    assert found.groups[0].exchanges == 100
    assert found.watched["old"].references["cut"].units == 200


def test_a_row_that_was_read_twice_is_refused() -> None:
    one = exchange(said("x"))
    with pytest.raises(InputError, match="stands there twice"):
        traffic([one, one], [], Looking())
    with pytest.raises(InputError, match="give 0 to 1"):
        Looking(share=1.5)


def kept(path: Path, crowd: Crowd, first: int = 0) -> None:
    with Ledger.open(path) as ledger:
        ids = {each.id for each in crowd.exchanges[first:]}
        ledger.add(crowd.exchanges[first:], [r for r in crowd.ratings if r.exchange in ids])


def test_a_servers_sampled_judge_finds_in_the_ledger_what_the_command_finds(
    tmp_path: Path,
) -> None:
    crowd, path = Crowd(seed=1), tmp_path / "ledger.db"
    crowd.ask(700, "old")
    kept(path, crowd)
    sampled = Sampled(Looking(first=100, share=0.9))
    sampled.read(path)
    assert sampled.model == "old"
    assert 560 < sampled.judged < 700
    assert not sampled.gauges()
    crowd.ask(300, "old", refused=0.5)
    kept(path, crowd, 700)
    sampled.read(path)
    assert sampled.gauges() == {'drift_alarm{signal="refused",way="rose"}': 1.0}
    found = traffic(crowd.exchanges, crowd.ratings, Looking(first=100, share=0.9))
    assert [each for _, each in found.alarms] == sampled.alarms
    count = sampled.judged
    sampled.read(path)
    assert sampled.judged == count  # nothing is looked at twice
    crowd.ask(1, "new")
    kept(path, crowd, 1000)
    sampled.read(path)
    assert (sampled.model, sampled.gauges()) == ("new", {})


def test_two_models_that_answer_at_once_keep_their_references() -> None:
    """A new model's first answers come before the last of the old one: neither begins anew."""
    old, new = Crowd(seed=1), Crowd(seed=2)
    for crowd, name in ((old, "old"), (new, "new")):
        crowd.ask(300, name)
        crowd.ask(300, name, refused=0.6)
    sampled = Sampled(Looking(first=100))
    mixed = [
        replace(each, id=f"{each.id}-{each.model}")
        for pair in zip(old.exchanges, new.exchanges, strict=True)
        for each in pair
    ]
    for each in mixed:
        sampled.seen(each)
    assert (sampled.model, [each.signal for each in sampled.alarms]) == ("new", ["refused"])
    sampled.seen(replace(mixed[0], id="chatcmpl-last"))
    assert (sampled.model, [each.signal for each in sampled.alarms]) == ("old", ["refused"])


def test_a_vote_that_was_changed_counts_once_for_drift_here_as_there() -> None:
    crowd = Crowd(seed=1, people=10)
    crowd.ask(200, "old", rated=1.0)
    again = [
        replace(each, key=f"{each.key}-{number}", score=-1.0)
        for number in range(5)
        for each in crowd.ratings
    ]
    ratings = [*crowd.ratings, *again]
    sampled = Sampled(Looking(first=20))
    for exchange_ in crowd.exchanges:
        sampled.seen(exchange_)
    for rating in ratings:
        sampled.rated(rating)
    found = traffic(crowd.exchanges, ratings, Looking(first=20))
    assert not found.alarms and not sampled.alarms
    assert found.watched["old"].seen["score"] <= 200
    assert found.groups[0].levels["score"].value == 0.0  # levels take the last word


def test_who_was_forgotten_leaves_the_memory_of_the_judge_too(tmp_path: Path) -> None:
    crowd, path = Crowd(seed=1, people=5), tmp_path / "ledger.db"
    crowd.ask(200, "old")
    kept(path, crowd)
    sampled = Sampled(Looking())
    sampled.read(path)
    assert b"live3" in pickle.dumps(vars(sampled))
    with Ledger.open(path) as ledger:
        gone = ledger.forget("live3").exchanges
    sampled.read(path)
    assert b"live3" not in pickle.dumps(vars(sampled))
    assert sampled.judged == 200 - gone


def test_a_server_tells_drift_in_its_metrics_and_its_log(tmp_path: Path) -> None:
    crowd, path = Crowd(seed=1), tmp_path / "ledger.db"
    crowd.ask(300, "old")
    crowd.ask(300, "old", refused=0.6)
    kept(path, crowd)
    meters, lines = Meters(), io.StringIO()
    gauges = {"inside": 0.0, "healthy": 1.0}

    async def some_time() -> None:
        sampled = Sampled(Looking(first=100))
        task = asyncio.create_task(sampled.follow(path, meters, Log(lines)))
        async with asyncio.timeout(60):
            while "judged_total 600" not in meters.text(gauges):
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(some_time())
    text = meters.text(gauges)
    assert 'ontogeny_drift_alarm{signal="refused",way="rose"} 1' in text
    (told,) = map(json.loads, lines.getvalue().splitlines())
    assert told["model"] == "old"
    assert told["drift"].startswith("refused rose: ")


def test_a_ledger_that_cannot_be_read_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    lines = io.StringIO()

    async def some_time() -> None:
        sampled = Sampled(Looking())
        task = asyncio.create_task(sampled.follow(tmp_path / "none.db", Meters(), Log(lines)))
        async with asyncio.timeout(60):
            while not lines.getvalue():
                await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(some_time())
    assert "the traffic cannot be looked at: " in json.loads(lines.getvalue())["drift"]
