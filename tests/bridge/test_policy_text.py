"""Our engine as a policy of requests about text: stop strings, grammars, and what fails alone."""

import asyncio
import json
import math
import random
import re
import threading

import pytest
import torch

from ontogeny.base.errors import InputError
from ontogeny.bridge.local_policy import LocalPolicy
from ontogeny.infer.engine import Engine
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.sampling import GREEDY, Sampling
from ontogeny.plan.shape import Shape
from ontogeny.rollout.policy import Continuation, Request, sample_all, score_all
from ontogeny.text.constraint import Constraint
from ontogeny.text.grammar import Grammar
from ontogeny.text.train_tokenizer import train

# more rows than the tokenizer has tokens, as in padded embeddings
SHAPE = Shape(
    vocab_size=350, hidden=32, layers=2, heads=4, kv_heads=2, head_dim=8, ff=64, context=128
)
YEAR = Grammar("regex", "[12][0-9]{3}( ad| bc)?")
POINT = Grammar(
    "json_schema",
    json.dumps(
        {
            "type": "object",
            "properties": {name: {"type": "integer", "minimum": 0} for name in "xy"},
            "required": ["x", "y"],
            "additionalProperties": False,
            "x-guidance": {"whitespace_pattern": " "},
        }
    ),
)
ADMISSIONS = pytest.mark.parametrize("admission", ["lockstep", "ready"])


@pytest.fixture(scope="module")
def tokenizer():
    return train(
        ["the cat sat on the mat; a dog sat there too\n" * 40, "x: 1, y: 23 été " * 20], 300
    )


@pytest.fixture(scope="module")
def model():
    model = Transformer(SHAPE)
    initialise(model, 2)
    with torch.no_grad():
        model.embedding.mul_(20.0)
    return model


@pytest.fixture(scope="module")
def plain(tokenizer):
    """A bias that leaves tokens of ASCII, and so whole characters."""
    spelled = [tokenizer.continuation([id_]) for id_ in range(tokenizer.vocab_size)]
    kept = {id_ for id_, text in enumerate(spelled) if text and text.isascii()}
    return tuple((row, -math.inf) for row in range(SHAPE.vocab_size) if row not in kept)


@pytest.fixture
def policy_of(model, tokenizer):
    def made(slots=4, length=100, admission="lockstep", text=True):
        return LocalPolicy(
            Engine(model, slots, length, admission=admission), tokenizer if text else None
        )

    return made


def asked(count, tokenizer, **wishes):
    draw = random.Random(3)
    return [
        Request(
            tuple(draw.randrange(280) for _ in range(draw.randint(1, 9))),
            30,
            Sampling(seed=seed),
            stop=tokenizer.stops(chats=True),
            **wishes,
        )
        for seed in range(count)
    ]


def text_of(completion, tokenizer, stop):
    ids = completion.ids
    return tokenizer.continuation(ids[:-1] if ids[-1] in stop else ids)


@ADMISSIONS
def test_every_answer_has_the_form_that_its_request_asks_for(policy_of, tokenizer, admission):
    requests = asked(12, tokenizer, grammar=YEAR)
    for request, answer in zip(
        requests, sample_all(policy_of(admission=admission), requests), strict=True
    ):
        assert answer.finish == "stop"
        assert re.fullmatch(YEAR.text, text_of(answer, tokenizer, request.stop))


def test_log_probs_of_a_constrained_answer_are_those_of_the_free_model(policy_of, tokenizer):
    requests = asked(6, tokenizer, grammar=POINT, top_log_probs=3)
    policy = policy_of()
    answers = sample_all(policy, requests)
    pairs = [Continuation(r.prompt, a.ids) for r, a in zip(requests, answers, strict=True)]
    for answer, likelihood in zip(answers, score_all(policy, pairs), strict=True):
        assert answer.log_probs == pytest.approx(likelihood.log_probs, abs=1e-4)
        for best, greedy, id_ in zip(answer.top, likelihood.greedy, answer.ids, strict=True):
            assert len(best) == 3
            assert (best[0][0] == id_) == greedy
            assert best[0][1] >= best[1][1] >= best[2][1]


@ADMISSIONS
def test_a_stop_string_ends_an_answer_where_it_becomes_whole(
    policy_of, tokenizer, plain, admission
):
    free = [Request((7, seed), 40, Sampling(seed=seed, bias=plain)) for seed in range(20)]
    policy = policy_of(admission=admission)
    said = [tokenizer.continuation(answer.ids) for answer in sample_all(policy, free)]
    strings = [(text[len(text) // 2 :][:2], "\N{SNOWMAN}") for text in said]
    bounded = [
        Request(r.prompt, r.max_tokens, r.sampling, stop_strings=each)
        for r, each in zip(free, strings, strict=True)
    ]
    answers = sample_all(policy, bounded)
    for request, answer, text in zip(bounded, answers, said, strict=True):
        (string, _) = request.stop_strings
        ended = tokenizer.continuation(answer.ids)
        assert text.startswith(ended)
        assert (answer.finish, answer.matched) == ("stop", string)
        assert text.find(string) == ended.find(string)
        assert string not in tokenizer.continuation(answer.ids[:-1])


def test_a_grammar_and_a_stop_string_act_together(policy_of, tokenizer):
    requests = asked(12, tokenizer, grammar=POINT, stop_strings=('"y"',))
    for answer in sample_all(policy_of(), requests):
        text = tokenizer.continuation(answer.ids)
        assert (answer.matched == '"y"') == ('"y"' in text) == (answer.finish == "stop")
        assert re.fullmatch(r'\{ ?"x" ?: ?[0-9]+( ?, ?"y".*)?', text)


def test_seeds_reproduce_a_constrained_answer_whatever_shares_its_wave(policy_of, tokenizer, plain):
    requests = asked(4, tokenizer, grammar=YEAR)
    others = [
        Request(r.prompt, r.max_tokens, Sampling(seed=99 + i, bias=plain), stop_strings=("e",))
        for i, r in enumerate(requests)
    ]
    alone = sample_all(policy_of(), requests)
    mixed = sample_all(policy_of(), [requests[0], *others[1:]])
    assert mixed[0] == alone[0]


@ADMISSIONS
def test_a_grammar_that_is_refused_or_leads_nowhere_fails_its_own_request(
    policy_of, tokenizer, admission
):
    policy = policy_of(admission=admission)
    nowhere = Grammar("lark", f'start: "a" <[{tokenizer.pad}]> "b"')
    requests = [
        *asked(1, tokenizer, grammar=Grammar("regex", "(a")),
        *asked(1, tokenizer, grammar=nowhere),
        *asked(2, tokenizer, grammar=YEAR),
        Request((1,), 5),
    ]

    async def play():
        return await asyncio.gather(*map(policy.sample, requests), return_exceptions=True)

    refused, lost, *fine = asyncio.run(play())
    for error in (refused, lost):
        assert isinstance(error, InputError)
        assert "\n" not in str(error)
    assert [answer.finish for answer in fine] == ["stop", "stop", "length"]
    assert len(policy.engine.slots) == 4
    assert not policy.engine.busy


@pytest.mark.parametrize("wish", [{"grammar": YEAR}, {"stop_strings": ("a",)}])
def test_without_a_tokenizer_text_is_refused_in_one_line(policy_of, wish):
    policy = policy_of(text=False)

    async def play():
        wished = Request((1,), 5, **wish)
        return await asyncio.gather(
            policy.sample(wished), policy.sample(Request((1,), 5)), return_exceptions=True
        )

    refused, fine = asyncio.run(play())
    assert isinstance(refused, InputError)
    assert "tokenizer" in str(refused)
    assert len(fine.ids) == 5


def test_while_a_grammar_is_tried_others_go_on(policy_of, monkeypatch):
    policy = policy_of(admission="ready")
    heard = []
    ten = threading.Event()
    check = Constraint.check

    def slow(*words):
        assert ten.wait(60), "nobody generates while a grammar is tried"
        return check(*words)

    def hear(id_, _):
        heard.append(id_)
        if len(heard) == 10:
            ten.set()

    monkeypatch.setattr(Constraint, "check", staticmethod(slow))

    async def play():
        stream = asyncio.create_task(policy.sample(Request((1,), 10**6), hear))
        done = await policy.sample(Request((1,), 4, GREEDY, grammar=YEAR))
        stream.cancel()
        return done

    assert asyncio.run(play()).ids
    assert len(heard) >= 10


def test_cancelling_a_constrained_request_frees_its_slot(policy_of):
    policy = policy_of(slots=1, admission="ready")

    async def play():
        task = asyncio.create_task(
            policy.sample(Request((1,), 90, grammar=Grammar("regex", "[a-z ]{400}")))
        )
        while not policy.engine.busy:
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await policy.sample(Request((2,), 10, grammar=YEAR))

    assert asyncio.run(play()).ids
    assert len(policy.engine.slots) == 1
    assert not policy.engine.busy


def test_a_turn_that_follows_reads_only_what_is_new(policy_of):
    policy = policy_of(slots=1, admission="ready")
    first = Request(tuple(range(100, 140)), 12)
    (said,) = sample_all(policy, [first])
    read = policy.engine.counts.read_tokens
    (again,) = sample_all(policy, [Request((*first.prompt, *said.ids, 7, 8, 9), 12)])
    assert len(again.ids) == 12
    # the last sampled token was never read
    assert policy.engine.counts.read_tokens - read == 3 + 1
