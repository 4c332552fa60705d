"""Requests refuse what makes no sense; the fakes answer; a failure stops its company."""

import asyncio
import math
import re

import pytest

from ontogeny.base.errors import InputError
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.fakes import IMPOSSIBLE, ScriptedPolicy, UniformPolicy
from ontogeny.rollout.policy import Continuation, Request, sample_all, score_all, together
from ontogeny.text.grammar import Grammar
from ontogeny.text.train_tokenizer import train


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", 1e-46),
        ("temperature", 1e39),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_p", 1e-46),
        ("min_p", 1.0),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", math.inf),
        ("repetition_penalty", 1e-46),
        ("frequency_penalty", 2.1),
        ("presence_penalty", math.nan),
        ("bias", ((-1, 0.0),)),
        ("bias", ((1, math.nan),)),
        ("bias", ((1, math.inf),)),
        ("bias", ((1, 1e39),)),
        ("bias", ((1, 0.0), (1, 1.0))),
        ("seed", -1),
        ("seed", 2**63),
    ],
)
def test_senseless_sampling_is_refused_in_one_line(field, value):
    with pytest.raises(InputError) as caught:
        Sampling(**{field: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ()),
        ("max_tokens", 0),
        ("stop_strings", ("a", "")),
        ("top_log_probs", -1),
        ("top_log_probs", 21),
    ],
)
def test_a_senseless_request_is_refused_in_one_line(field, value):
    with pytest.raises(InputError) as caught:
        Request(**{"prompt": (1,), "max_tokens": 1, field: value})
    assert "\n" not in str(caught.value)


def test_scoring_needs_both_parts():
    for parts in (((), (1,)), ((1,), ())):
        with pytest.raises(InputError):
            Continuation(*parts)


def test_a_scripted_policy_says_its_script_up_to_the_stop_and_the_limit():
    policy = ScriptedPolicy(lambda request: [request.prompt[-1], 7, 8, 9], version=3)
    requests = [
        Request((5,), 10),
        Request((6,), 2),
        Request((4,), 10, stop=(8,)),
        Request((7,), 10, stop=(7,)),
    ]
    answers = sample_all(policy, requests)
    assert [a.ids for a in answers] == [(5, 7, 8, 9), (6, 7), (4, 7, 8), (7,)]
    assert [a.finish for a in answers] == ["length", "length", "stop", "stop"]
    assert answers[0].log_probs == (0.0,) * 4
    assert answers[0].versions == (3,) * 4
    assert policy.requests == requests


def test_a_scripted_policy_scores_what_it_would_say():
    policy = ScriptedPolicy(lambda _: [1, 2, 3])
    right, wrong, longer = score_all(
        policy, [Continuation((9,), t) for t in [(1, 2), (1, 5), (1, 2, 3, 4)]]
    )
    assert right.total() == 0.0
    assert right.greedy == (True, True)
    assert wrong.log_probs == (0.0, IMPOSSIBLE)
    assert longer.greedy == (True, True, True, False)


def test_a_uniform_policy_is_uniform_and_seeded():
    policy = UniformPolicy(4)
    one, same, other = sample_all(
        policy, [Request((0,), 4000, Sampling(seed=s)) for s in (1, 1, 2)]
    )
    assert one == same
    assert one.ids != other.ids
    for id_ in range(4):  # 4000 draws of p = 1/4: sigma is 27
        assert abs(one.ids.count(id_) - 1000) < 5 * 27
    assert sum(one.log_probs) == pytest.approx(-4000 * math.log(4))
    (scored,) = score_all(policy, [Continuation((0,), one.ids[:9])])
    assert scored.log_probs == one.log_probs[:9]


def test_the_sink_hears_every_token_in_order():
    heard = []
    policy = UniformPolicy(50)
    request = Request((0,), 20, Sampling(seed=4))
    completion = asyncio.run(policy.sample(request, sink=lambda *token: heard.append(token)))
    assert heard == list(zip(completion.ids, completion.log_probs, strict=True))


def test_the_first_failure_stops_the_others_and_is_the_one_reported():
    stopped = []

    async def endless(name):
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(name)

    async def failing():
        await asyncio.sleep(0)
        raise InputError("this one")

    with pytest.raises(InputError, match="this one"):
        asyncio.run(together([endless("a"), failing(), endless("b")]))
    assert stopped == ["a", "b"]


@pytest.fixture(scope="module")
def tokenizer():
    return train(["one two three four\n" * 30], 290)


def test_a_scripted_policy_ends_at_a_stop_string(tokenizer):
    ids = tokenizer.encode("one two three four")
    policy = ScriptedPolicy(lambda _: ids, tokenizer=tokenizer)
    requests = [
        Request((0,), 99, stop_strings=("hr", "four")),
        Request((0,), 99, stop_strings=("five",)),
    ]
    ended, whole = sample_all(policy, requests)
    assert (ended.finish, ended.matched) == ("stop", "hr")
    assert "hr" in tokenizer.continuation(ended.ids)
    assert "hr" not in tokenizer.continuation(ended.ids[:-1])
    assert (whole.ids, whole.finish, whole.matched) == (tuple(ids), "length", None)


def test_a_script_outside_the_grammar_is_refused(tokenizer):
    policy = ScriptedPolicy(lambda _: tokenizer.encode("one two"), tokenizer=tokenizer)
    (whole,) = sample_all(policy, [Request((0,), 99, grammar=Grammar("regex", "one two"))])
    assert (whole.finish, tokenizer.continuation(whole.ids)) == ("stop", "one two")
    with pytest.raises(InputError, match="grammar"):
        sample_all(policy, [Request((0,), 99, grammar=Grammar("regex", "one [0-9]"))])


def test_a_uniform_policy_draws_from_what_the_grammar_allows(tokenizer):
    policy = UniformPolicy(tokenizer.vocab_size, tokenizer=tokenizer)
    grammar = Grammar("regex", "(yes|no) [0-9]{2}")
    requests = [Request((0,), 99, Sampling(seed=seed), grammar=grammar) for seed in range(40)]
    texts = [tokenizer.continuation(each.ids) for each in sample_all(policy, requests)]
    assert all(re.fullmatch(grammar.text, text) for text in texts)
    assert {text[:2] for text in texts} == {"ye", "no"}


def test_wishes_about_text_need_a_tokenizer():
    for policy in (ScriptedPolicy(lambda _: [1]), UniformPolicy(9)):
        with pytest.raises(InputError, match="tokenizer"):
            sample_all(policy, [Request((0,), 9, stop_strings=("a",))])
