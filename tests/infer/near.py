"""Whether a token hangs on the last bits of the logits: then another company may choose another."""

from __future__ import annotations

import pytest
import torch

from ontogeny.infer.handle import Handle
from ontogeny.infer.sampling import uniforms
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.plan.sampling import Sampling

NEAR = 1e-4


def batch_of(ids: list[int]) -> Batch:
    tokens_BT = torch.tensor([ids])
    return Batch(tokens_BT[:, :-1], tokens_BT[:, 1:], torch.ones(1, len(ids) - 1))


def next_logits(model: Transformer, ids: list[int]) -> torch.Tensor:
    """logits_V in fp64 after `ids`, by the trainer's forward."""
    return model.logits(batch_of([*ids, 0]))[0, -1].double()


def decided(model: Transformer, prompt, got, expected, sampling: Sampling) -> bool:
    """Whether the first difference between two completions is more than one of rounding.

    It is rounding where, greedy, the two tokens' logits lie within 1e-4, and where, sampled, the
    uniform number lies within 1e-4 of both tokens' shares of the cumulative distribution.
    """
    place = next(i for i, pair in enumerate(zip(got, expected, strict=True)) if len({*pair}) > 1)
    logits_V = next_logits(model, [*prompt, *got[:place]])
    pair = got[place], expected[place]
    if sampling.temperature == 0.0:
        top = logits_V.topk(2).values
        return bool((top[0] - min(logits_V[id_] for id_ in pair)).abs() > NEAR)
    assert (sampling.top_k, sampling.top_p, sampling.min_p) == (0, 1.0, 0.0)
    upto_V = (logits_V / sampling.temperature).softmax(-1).cumsum(-1)
    drawn = float(uniforms([sampling.seed], [place])[0])
    shares = [(float(upto_V[i - 1]) if i else 0.0, float(upto_V[i])) for i in pair]
    return any(drawn < low - NEAR or drawn > high + NEAR for low, high in shares)


def assert_same(model: Transformer, handle: Handle, expected: Handle) -> None:
    """Two runs of one request: equal tokens, but for rounding, and log-probs that agree."""
    if handle.ids != expected.ids:
        assert not decided(model, handle.prompt, handle.ids, expected.ids, handle.sampling)
    else:
        assert handle.log_probs == pytest.approx(expected.log_probs, abs=NEAR)
