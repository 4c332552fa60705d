"""No limit is passed, pace is kept, and what was answered before a limit is not asked again."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time as clock
from pathlib import Path

import pytest
from edge.remote_bench import Time, answers, asked, prompt, text_of
from support.openai_server import chat, hangs, says, usage

from ontogeny.base.errors import InputError
from ontogeny.edge.remote_config import LimitReached, Limits, Price, RemoteConfig
from ontogeny.rollout.drive import drive_all
from ontogeny.rollout.flow import Flow, Sample
from ontogeny.rollout.journal import FileJournal
from ontogeny.rollout.policy import Request, sample_all
from ontogeny.text.byte_codec import byte_tokenizer

GOOD = says(chat("fine", usage=usage(100, 10, cached=60)))


def test_what_is_spent_is_counted_as_the_server_counts_it():
    with asked([says({}, 500), GOOD], price=Price(0.5, 2.0)) as (_, policy):
        answers(policy)
        answers(policy, 3)
    spent = policy.spent
    assert (spent.requests, spent.retries, spent.estimated) == (5, 1, 0)
    assert (spent.prompt_tokens, spent.completion_tokens, spent.cached_tokens) == (400, 40, 240)
    assert spent.dollars == pytest.approx((400 * 0.5 + 40 * 2.0) / 1e6)


def test_without_a_price_no_dollars_are_told_and_none_can_be_a_limit():
    with asked([GOOD]) as (_, policy):
        answers(policy)
    assert policy.spent.dollars is None
    with pytest.raises(InputError, match="needs the price"):
        RemoteConfig("http://a", limits=Limits(most_dollars=1.0))


def test_an_answer_whose_cost_is_not_told_counts_as_the_most_it_can_be():
    body = chat("fine")
    del body["usage"]
    with asked([says(body)]) as (_, policy):
        answers(policy, max_tokens=33)
    assert policy.spent.estimated == 1
    assert policy.spent.completion_tokens == 33
    assert policy.spent.prompt_tokens >= len(prompt())


@pytest.mark.parametrize("count", [10**400, 2**53, -1, True, 5.0, "5"])
def test_a_cost_that_cannot_be_counts_as_one_that_was_not_told(count):
    said = says(chat("fine", usage={"prompt_tokens": count, "completion_tokens": 5}))
    with asked([said], price=Price(1.0, 1.0)) as (_, policy):
        answers(policy, max_tokens=33)
    assert policy.spent.estimated == 1
    assert policy.spent.completion_tokens == 33


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        (Limits(most_requests=3), 3),
        (Limits(most_tokens=350), 3),  # three cost 330
        (Limits(most_dollars=340e-6), 3),
    ],
)
def test_no_more_is_asked_than_a_limit_allows(limits, most):
    with asked([GOOD], limits=limits, price=Price(1.0, 1.0)) as (server, policy):
        for _ in range(most):
            answers(policy, max_tokens=1)
        with pytest.raises(LimitReached, match="journal") as caught:
            answers(policy, max_tokens=20)
        assert caught.value.exit_code == 4
        assert "\n" not in str(caught.value)
    assert len(server.posts) == most


def test_a_limit_holds_for_requests_that_are_under_way_together():
    small = says(chat("fine", usage=usage(20, 10)))  # 41 are set aside, 30 are spent
    with (
        asked([small], limits=Limits(most_tokens=300), concurrency=50) as (server, policy),
        pytest.raises(LimitReached),
    ):
        answers(policy, 50)
    spent = policy.spent
    assert spent.prompt_tokens + spent.completion_tokens == 270
    assert spent.estimated == 0  # what was under way was answered first
    assert len(server.posts) == 9


def test_retries_count_towards_the_most_requests():
    limits = Limits(most_requests=2)
    with asked([says({}, 500)], limits=limits) as (server, policy), pytest.raises(LimitReached):
        answers(policy)
    assert len(server.posts) == 2


def test_requests_are_spread_over_the_minute():
    time = Time()
    with asked([GOOD], time, limits=Limits(requests_a_minute=30), concurrency=1) as (_, policy):
        answers(policy, 4)
    assert time.slept == [2.0] * 3
    assert policy.spent.seconds_waited == 6.0


def test_tokens_are_spread_over_the_minute_and_what_was_not_used_is_given_back():
    time = Time()
    limits = Limits(tokens_a_minute=660)  # 11 a second; a request takes 110
    with asked([GOOD], time, limits=limits, concurrency=1) as (_, policy):
        answers(policy, 4, max_tokens=500)
    assert sum(time.slept) == pytest.approx(30.0)


def test_waiting_for_our_own_pace_is_not_in_the_deadline():
    limits = Limits(requests_a_minute=0.1)
    with asked([GOOD], Time(), limits=limits, deadline_seconds=5.0) as (_, policy):
        assert len(answers(policy, 3)) == 3
    assert policy.spent.seconds_waited == 1200.0


def test_no_more_than_so_many_are_under_way_at_once():
    lock, now, most = threading.Lock(), [0], [0]

    def slow(_heard):
        def act(line):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            clock.sleep(0.02)
            with lock:
                now[0] -= 1
            return GOOD(line)

        return act

    with asked(slow, concurrency=3) as (server, policy):
        assert len(answers(policy, 12)) == 12
    assert most[0] == 3
    assert len({heard.connection for heard in server.requests}) <= 3


def test_a_cancelled_request_gives_its_place_free():
    async def played(policy):
        first = asyncio.create_task(policy.sample(Request(prompt(), 20)))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(policy.sample(Request(prompt(), 20)))
        await asyncio.sleep(0.05)
        first.cancel()
        return await asyncio.wait_for(second, 5)

    with asked([hangs(), GOOD], concurrency=1) as (_, policy):
        assert text_of(asyncio.run(played(policy))) == "fine"


def teacher(number: int) -> Flow[str]:
    """Two questions, the second about the first answer."""
    first = yield Sample(Request(prompt(f"question {number}"), 20))
    second = yield Sample(Request(prompt(f"better than '{text_of(first)}'?"), 20))
    return text_of(second)


@pytest.mark.parametrize("admission", ["ready", "lockstep"])
def test_a_run_that_its_limit_ended_goes_on_from_the_journal(tmp_path: Path, admission):
    """In lockstep a round is kept whole or not at all; as-ready keeps each answer."""
    numbers = itertools.count()
    heard: list[str] = []

    def answer(request):
        heard.append(request.body["messages"][0]["content"])
        return says(chat(f"answer {next(numbers)}"))

    def run(limit):
        journal = FileJournal(tmp_path / "journal.jsonl")
        with asked(answer, limits=Limits(most_requests=limit), concurrency=2) as (_, policy):
            flows = [teacher(number) for number in range(4)]
            return drive_all(flows, policy, admission=admission, journal=journal)

    with pytest.raises(LimitReached):
        run(5)
    assert len(heard) == 5
    said = run(100)
    kept = 5 if admission == "ready" else 4
    assert len(heard) == 5 + (8 - kept)
    if admission == "ready":
        assert len(set(heard)) == 8
    assert run(1) == said  # all of it is in the journal; the server is not asked at all
    assert len(heard) == 5 + (8 - kept)


def test_log_probs_that_no_server_said_pass_through_the_journal(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    with asked([says(chat("fine"))]) as (server, policy):
        told = [
            drive_all([teacher(0)], policy, journal=FileJournal(path)),
            drive_all([teacher(0)], policy, journal=FileJournal(path)),
        ]
    assert told == [["fine"], ["fine"]]
    assert len(server.posts) == 2
    assert "null" in path.read_text()


def test_answers_to_many_stand_in_the_order_of_the_questions():
    def echo(heard):
        return says(chat(heard.body["messages"][0]["content"]))

    with asked(echo, concurrency=7) as (_, policy):
        said = sample_all(policy, [Request(prompt(f"q{n}"), 20) for n in range(40)])
    assert [text_of(each) for each in said] == [f"q{n}" for n in range(40)]
    assert byte_tokenizer() is policy.tokenizer
