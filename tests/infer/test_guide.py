"""Guides, penalties and what is told beside tokens, through the engine; a request fails alone."""

import random

import numpy as np
import pytest
import torch
from infer.near import assert_same, next_logits

from ontogeny.base.errors import InputError
from ontogeny.infer.engine import Engine
from ontogeny.infer.sampling import uniforms
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.sampling import GREEDY, Sampling
from ontogeny.plan.shape import Shape

SHAPE = Shape(
    vocab_size=211, hidden=32, layers=2, heads=4, kv_heads=2, head_dim=8, ff=64, context=96
)
PROMPT = (5, 6, 7)


class Path:
    """Allows one id after another, and is whole with the last."""

    def __init__(self, *ids):
        self.ids, self.asked, self.taken = ids, 0, []

    def allowed(self):
        self.asked += 1
        words = np.zeros(7, np.uint32)
        if len(self.taken) < len(self.ids):
            id_ = self.ids[len(self.taken)]
            words[id_ // 32] = np.uint32(1 << id_ % 32)
        return words.view(np.int32)

    def accept(self, id_):
        self.taken.append(id_)
        return len(self.taken) == len(self.ids)


class Endless(Path):
    """Has nothing more to allow where a path is whole."""

    def accept(self, id_):
        super().accept(id_)
        return False


class Watch:
    """Allows everything, until one of its ids has come."""

    def __init__(self, *ids):
        self.ids = ids

    def allowed(self):
        return None

    def accept(self, id_):
        return id_ in self.ids


class Fault:
    """Cannot go on after `count` tokens."""

    def __init__(self, count, asked):
        self.count, self.asked = count, asked

    def allowed(self):
        if self.asked and self.count == 0:
            raise InputError("lost in the grammar")

    def accept(self, _id):
        self.count -= 1
        if not self.asked and self.count == 0:
            raise InputError("lost in the grammar")
        return False


class Broken:
    """A guide with a mistake of its own."""

    def allowed(self):
        return None

    def accept(self, _id):
        raise ValueError("a mistake")


@pytest.fixture(scope="module")
def model():
    model = Transformer(SHAPE)
    initialise(model, 0)
    with torch.no_grad():
        model.embedding.mul_(20.0)  # as peaked as after training, or greedy would be all ties
    return model


def run(engine):
    gained = []
    while engine.busy:
        gained.append(engine.step())
    return gained


def plain(model, count, sampling=GREEDY, prompt=PROMPT):
    engine = Engine(model, 1, 90)
    handle = engine.submit(prompt, count, sampling)
    run(engine)
    return handle


@pytest.mark.parametrize("admission", ["lockstep", "ready"])
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(seed=3), Sampling(top_p=0.3, seed=4)])
def test_a_guide_says_what_comes_and_when_it_is_whole(model, admission, sampling):
    engine = Engine(model, 3, 90, admission=admission)
    guide = Path(210, 0, 33, 64, 31, 32)
    handle = engine.submit(PROMPT, 20, sampling, guide=guide)
    others = [engine.submit((9, n), 20, GREEDY) for n in range(2)]
    run(engine)
    assert (tuple(handle.ids), handle.finish) == (guide.ids, "stop")
    assert guide.taken == handle.ids
    assert guide.asked == len(handle.ids)  # once a token, and never after the end
    for place, (id_, log_prob) in enumerate(zip(handle.ids, handle.log_probs, strict=True)):
        told = plain(model, 1, prompt=(*PROMPT, *handle.ids[:place])).log_probs
        assert log_prob <= told[0] + 1e-5
        assert log_prob == pytest.approx(
            score(model, (*PROMPT, *handle.ids[:place]), id_), abs=1e-4
        )
    assert [other.ids for other in others] == [
        plain(model, 20, prompt=(9, n)).ids for n in range(2)
    ]


def score(model, ids, next_id):
    engine = Engine(model, 1, 90)
    handle = engine.submit(ids, 1, GREEDY, top=SHAPE.vocab_size)
    run(engine)
    return dict(handle.top[0])[next_id]


def test_a_guide_ends_a_completion_at_what_was_said_and_a_stop_id_before_it(model):
    expected = plain(model, 30).ids
    end = expected[6]
    engine = Engine(model, 2, 90)
    watched = engine.submit(PROMPT, 30, GREEDY, guide=Watch(end))
    path = Path(1, 2, 3)
    stopped = engine.submit(PROMPT, 30, GREEDY, stop=[2], guide=path)
    run(engine)
    assert watched.ids == expected[: expected.index(end) + 1]
    assert (watched.finish, stopped.finish) == ("stop", "stop")
    assert (stopped.ids, path.taken) == ([1, 2], [1])


@pytest.mark.parametrize("admission", ["lockstep", "ready"])
@pytest.mark.parametrize(
    ("fresh", "count", "reason"),
    [
        (lambda: Endless(), 0, "allows no token"),
        (lambda: Endless(4, 5), 2, "allows no token"),
        (lambda: Fault(0, asked=True), 0, "lost"),
        (lambda: Fault(3, asked=True), 3, "lost"),
        (lambda: Fault(1, asked=False), 1, "lost"),
    ],
)
def test_a_guide_that_leads_nowhere_fails_its_own_request(model, admission, fresh, count, reason):
    guide = fresh()
    engine = Engine(model, 3, 90, admission=admission)
    others = [engine.submit((9, n), 8, Sampling(seed=n)) for n in range(2)]
    handle = engine.submit(PROMPT, 20, GREEDY, guide=guide)
    told = [handle in gained for gained in run(engine)]
    assert (handle.finish, len(handle.ids)) == ("failed", count)
    assert reason in str(handle.error)
    steps = max(count, 1) if isinstance(guide, Fault) and not guide.asked else count + 1
    assert told == [True] * steps + [False] * (len(told) - steps)
    assert len(engine.slots) == 3
    for n, other in enumerate(others):
        assert_same(model, other, plain(model, 8, Sampling(seed=n), (9, n)))
        assert other.error is None


def test_under_lockstep_what_others_ask_for_changes_no_bit(model):
    asked = [(n, n + 1, 2 * n) for n in range(8)]

    def play(seed):
        draw = random.Random(seed)
        engine = Engine(model, 8, 90)
        handles = []
        for n, prompt in enumerate(asked):
            rules, guide, top = Sampling(seed=77), None, 0
            if n != 4 and seed:
                rules = Sampling(
                    temperature=draw.choice([0.0, 0.7, 1.3]),
                    repetition_penalty=draw.choice([1.0, 1.5]),
                    frequency_penalty=draw.choice([0.0, 0.7]),
                    bias=draw.choice([(), ((3, 5.0), (9, -5.0))]),
                )
                top = draw.choice([0, 3])
                guide = draw.choice([None, Endless(*range(draw.randint(0, 9))), Watch(3, 4, 5)])
            handles.append(engine.submit(prompt, 30, rules, guide=guide, top=top))
        run(engine)
        return handles[4].ids, handles[4].log_probs

    first = play(0)
    assert len(first[0]) == 30
    assert all(play(seed) == first for seed in range(1, 9))


def test_the_likeliest_are_told_beside_each_token(model):
    engine = Engine(model, 4, 90)
    wanted = (0, 1, 5, 20)
    handles = [engine.submit(PROMPT, 12, Sampling(seed=n), top=top) for n, top in enumerate(wanted)]
    greedy = plain(model, 12)
    run(engine)
    for handle, top in zip(handles, wanted, strict=True):
        assert [len(each) for each in handle.top] == ([top] * 12 if top else [])
        for id_, log_prob, told in zip(handle.ids, handle.log_probs, handle.top, strict=False):
            values = [value for _, value in told]
            assert values == sorted(values, reverse=True)
            if id_ in dict(told):
                assert dict(told)[id_] == pytest.approx(log_prob, abs=1e-5)
            else:
                assert log_prob <= values[-1] + 1e-5
    assert handles[3].top[0][0][0] == greedy.ids[0]


def chosen(model, sampling, prompt, said):
    """The next id by the published formulas, in fp64, from the trainer's forward."""
    logits_V = next_logits(model, [*prompt, *said])
    for id_, value in sampling.bias:
        logits_V[id_] += value
    for id_ in {*prompt, *said}:
        penalty = sampling.repetition_penalty
        logits_V[id_] *= penalty if logits_V[id_] < 0 else 1 / penalty
    for id_ in {*said}:
        logits_V[id_] -= said.count(id_) * sampling.frequency_penalty + sampling.presence_penalty
    if sampling.temperature == 0.0:
        return int(logits_V.argmax())
    upto_V = (logits_V / sampling.temperature).softmax(-1).cumsum(-1)
    return int((upto_V <= float(uniforms([sampling.seed], [len(said)])[0])).sum())


@pytest.mark.parametrize("admission", ["lockstep", "ready"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_penalties_and_bias_act_on_what_was_read_and_said(model, admission, temperature):
    sampling = Sampling(
        temperature,
        repetition_penalty=1.3,
        frequency_penalty=0.6,
        presence_penalty=0.4,
        bias=((7, 3.0), (8, -2.0)),
        seed=5,
    )
    engine = Engine(model, 2, 90, admission=admission)
    prompts = (PROMPT, (7, 8, 9), (5, 5, 5, 5))  # the third comes where another was
    handles = [engine.submit(prompt, 20, sampling) for prompt in prompts]
    run(engine)
    for handle in handles:
        for place, id_ in enumerate(handle.ids):
            assert id_ == chosen(model, sampling, handle.prompt, handle.ids[:place])


def test_a_bias_outside_the_vocabulary_is_refused(model):
    with pytest.raises(InputError, match="210"):
        Engine(model, 1, 10).submit((1,), 3, Sampling(bias=((SHAPE.vocab_size, 1.0),)))


def test_a_guides_own_mistake_is_told_and_nobody_goes_on_without_a_token(model):
    engine = Engine(model, 2, 90)
    rows = [engine.submit(PROMPT, 5, GREEDY, guide=guide) for guide in (Broken(), None)]
    with pytest.raises(ValueError, match="a mistake"):
        engine.step()
    assert [row.finish for row in rows] == ["cancelled", "cancelled"]
    assert len(engine.slots) == 2 and not engine.busy
    again = engine.submit(PROMPT, 5, GREEDY)
    run(engine)
    assert again.ids == plain(model, 5).ids
