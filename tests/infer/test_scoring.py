"""Scores of packed continuations are those of each alone, and of the trainer's forward."""

import random

import pytest
import torch

from ontogeny.base.errors import InputError
from ontogeny.infer.engine import Engine
from ontogeny.infer.scoring import score
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


def pairs(count, seed=0):
    draw = random.Random(seed)
    ids = [[draw.randrange(300) for _ in range(draw.randint(1, 32))] for _ in range(2 * count)]
    return list(zip(ids[::2], ids[1::2], strict=True))


@pytest.mark.parametrize("most_tokens", [1, 100, 4096])
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
