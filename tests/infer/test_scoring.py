"""Scores are those of each pair alone and of the trainer's forward; what is shared is read once."""

import random

import pytest
import torch
from support.families import FAMILIES, made

from ontogeny.base.errors import InputError
from ontogeny.infer import reading
from ontogeny.infer.engine import Engine
from ontogeny.infer.reading import Machine
from ontogeny.infer.scoring import score
from ontogeny.infer.tree import Cost
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.loss import Needs
from ontogeny.plan.sampling import Sampling
from ontogeny.plan.shape import Shape

SHAPE = Shape(
    vocab_size=300, hidden=32, layers=2, heads=4, kv_heads=4, head_dim=8, ff=64, context=64
)


@pytest.fixture(scope="module")
def model():
    model = Transformer(SHAPE)
    initialise(model, 1)
    with torch.no_grad():
        model.embedding.mul_(20.0)
    return model


def test_logits_that_are_not_finite_are_an_error_not_a_score():
    broken = Transformer(SHAPE)
    initialise(broken, 0)
    with torch.no_grad():
        broken.norm.weight[3] = torch.nan
    with pytest.raises(InputError, match="not finite"):
        score(broken, [((1, 2), (3, 4))])


def pairs(count, seed=0):
    draw = random.Random(seed)
    ids = [[draw.randrange(300) for _ in range(draw.randint(1, 32))] for _ in range(2 * count)]
    return list(zip(ids[::2], ids[1::2], strict=True))


@pytest.mark.parametrize("most_tokens", [20, 100, 4096])
def test_scores_equal_the_trainers_forward_of_each_alone(model, most_tokens):
    asked = pairs(40)
    answers = score(model, asked, most_tokens)
    for (prompt, target), (log_probs, greedy) in zip(asked, answers, strict=True):
        ids = torch.tensor([[*prompt, *target]])
        batch = Batch(ids[:, :-1], ids[:, 1:], torch.ones(1, ids.shape[1] - 1))
        with torch.no_grad():
            expected = model(batch, Needs(log_probs=True)).log_probs_BT[0, -len(target) :]
        best = model.logits(batch)[0, -len(target) :].argmax(-1)
        assert log_probs == pytest.approx(expected.tolist(), abs=1e-5)
        assert greedy == [int(b) == t for b, t in zip(best, target, strict=True)]


def test_what_was_sampled_scores_as_it_was_sampled(model):
    engine = Engine(model, 4, 60)
    rules = [Sampling(temperature=0.0), Sampling(seed=1), Sampling(seed=2), Sampling(seed=3)]
    handles = [engine.submit(p, 20, r) for (p, _), r in zip(pairs(4), rules, strict=True)]
    while engine.busy:
        engine.step()
    answers = score(model, [(h.prompt, h.ids) for h in handles])
    for handle, (log_probs, _) in zip(handles, answers, strict=True):
        assert log_probs == pytest.approx(handle.log_probs, abs=1e-4)
    assert all(answers[0][1])


@pytest.mark.parametrize("pair", [((), (1,)), ((1,), ()), ((300,), (1,)), ((1,) * 33, (1,) * 33)])
def test_what_cannot_be_scored_is_refused(model, pair):
    with pytest.raises(InputError):
        score(model, [((1,), (2,)), pair])


def test_scoring_nothing_gives_nothing(model):
    assert score(model, []) == []


def branching(shape, count, seed=0):
    """Pairs that begin alike in every way: equal prompts, prefixes of others, the same twice."""
    draw = random.Random(seed)
    known, asked = [[]], []
    for _ in range(count):
        start = draw.choice(known)
        start = start[: draw.randint(0, len(start))]
        new = [draw.randrange(shape.vocab_size) for _ in range(draw.randint(2, 12))]
        ids = (start + new)[: shape.context + 1]
        known.append(ids)
        cut = draw.randint(1, len(ids) - 1)
        asked.append((tuple(ids[:cut]), tuple(ids[cut:])))
        if draw.random() < 0.2:
            asked.append(draw.choice(asked))
    return asked


def alone(model, prompt, target):
    """log-probs and greedy flags from the logits of one pair."""
    ids = torch.tensor([[*prompt, *target]])
    batch = Batch(ids[:, :-1], ids[:, 1:], torch.ones(1, ids.shape[1] - 1))
    logits_TV = model.logits(batch)[0, -len(target) :]
    target_T = torch.tensor(target)
    log_probs_T = logits_TV.log_softmax(-1).gather(1, target_T[:, None])[:, 0]
    return log_probs_T.tolist(), (logits_TV.argmax(-1) == target_T).tolist()


MACHINES = {
    "as it is": reading.CPU,
    "one mask": Machine(4096, Cost(4096, 10**12, 0), 1 << 20, 512),
    "small pieces": Machine(64, Cost(5, 20, 1), 200, 7),
    "no masks shared": Machine(4096, Cost(256, 0, 0), 1 << 20, 512),
}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("shape", FAMILIES.values(), ids=FAMILIES)
def test_sharing_does_not_change_a_log_prob(shape, machine, monkeypatch):
    """In float64, so that nothing but rounding may differ: windows, caps, two rope tables."""
    monkeypatch.setattr(reading, "CPU", machine)
    model = made(shape).double()
    asked = branching(shape, 24)
    for (prompt, target), found in zip(asked, score(model, asked, 100), strict=True):
        log_probs, greedy = alone(model, prompt, target)
        assert found[0] == pytest.approx(log_probs, abs=1e-9)
        assert found[1] == greedy


@pytest.mark.parametrize("most_tokens", [1, 7, 50, 4096])
def test_each_distinct_token_is_read_once_in_bounded_passes(model, most_tokens):
    asked = branching(SHAPE, 60)
    read = []
    hook = model.layers[0].register_forward_pre_hook(lambda _, given: read.append(len(given[0])))
    score(model, asked, most_tokens)
    hook.remove()
    sequences = [(*prompt, *target)[:-1] for prompt, target in asked]
    distinct = {ids[: stop + 1] for ids in sequences for stop in range(len(ids))}
    assert len(distinct) < 0.7 * sum(map(len, sequences))
    assert sum(read) == len(distinct)
    assert max(read) <= most_tokens


def test_the_order_of_pairs_is_that_of_the_answers(model):
    asked = branching(SHAPE, 30)
    answers = score(model, asked)
    turned = score(model, asked[::-1])[::-1]
    for one, other in zip(answers, turned, strict=True):
        assert one[0] == pytest.approx(other[0], abs=1e-5)
    assert [len(each[0]) for each in answers] == [len(target) for _, target in asked]


def test_equal_pairs_have_equal_scores_to_the_bit(model):
    asked = branching(SHAPE, 20) * 2
    answers = score(model, asked)
    assert answers[: len(asked) // 2] == answers[len(asked) // 2 :]


def test_what_is_likeliest_is_flagged_in_whatever_tile_it_stands(model, monkeypatch):
    monkeypatch.setattr(reading, "CPU", Machine(4096, reading.CPU.cost, 64, 4))
    prompts = [prompt for prompt, _ in pairs(60)]
    best = [
        int(model.logits(Batch(ids, ids, torch.ones(ids.shape)))[0, -1].argmax())
        for ids in (torch.tensor([prompt]) for prompt in prompts)
    ]
    assert len({each // 16 for each in best}) > 5, "in many tiles"
    answers = score(model, [(prompt, (id_,)) for prompt, id_ in zip(prompts, best, strict=True)])
    assert all(greedy == [True] for _, greedy in answers)
    others = [(prompt, ((id_ + 1) % 300,)) for prompt, id_ in zip(prompts, best, strict=True)]
    assert not any(greedy[0] for _, greedy in score(model, others))


@pytest.mark.parametrize("tile", [64, 1 << 20])
def test_among_equally_likely_ids_the_first_counts(tile, monkeypatch):
    monkeypatch.setattr(reading, "CPU", Machine(4096, reading.CPU.cost, tile, 512))
    uniform = Transformer(SHAPE)
    initialise(uniform, 1)
    with torch.no_grad():
        uniform.embedding.fill_(0.25)
    answers = score(uniform, [((1,), (id_,)) for id_ in range(0, 300, 23)])
    assert [greedy for _, (greedy,) in answers] == [True] + [False] * 13
    assert all(log_prob == pytest.approx(-5.70378, abs=1e-4) for (log_prob,), _ in answers)
