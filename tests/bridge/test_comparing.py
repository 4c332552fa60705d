"""What two models make of many passages is what they make of each alone."""

import numpy as np
import pytest
import torch

from ontogeny.anatomy.divergence import divergence
from ontogeny.bridge.comparing import ROWS, Pair, Passage
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.plan.shape import Shape
from ontogeny.text.train_tokenizer import train


def model(seed: int, context: int = 24) -> Transformer:
    made = Transformer(Shape(280, 16, 2, 2, 1, 8, 32, context))
    initialise(made, seed)
    with torch.no_grad():
        made.embedding.mul_(30.0)
    return made.eval()


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair(model(1), model(2, context=48), train(["to be or not to be " * 20], 280))


def passages(count: int) -> list[Passage]:
    draw = np.random.default_rng(0)
    found = []
    for _ in range(count):
        length = int(draw.integers(1, 24))
        counted = (draw.random(length) < 0.6).astype(float)
        found.append((draw.integers(0, 280, length).tolist(), counted.tolist()))
    return found


def alone(pair: Pair, passage: Passage) -> tuple[float, float, float, float]:
    ids, counted = passage
    tokens = torch.tensor([ids])
    found = divergence(pair.before, pair.after, Batch(tokens, tokens, torch.tensor([counted])))
    sums = (found.forward_B, found.reverse_B, found.agreed_B, found.tokens_B)
    return tuple(float(each[0]) for each in sums)  # type: ignore[return-value]


def test_each_passage_has_its_own_sums_in_the_order_given(pair: Pair) -> None:
    asked = passages(2 * ROWS + 5)
    found = pair.drift(asked)
    for place, passage in enumerate(asked):
        forward, reverse, agreed, tokens = alone(pair, passage)
        assert found.forward[place] == pytest.approx(forward, rel=1e-5)
        assert found.reverse[place] == pytest.approx(reverse, rel=1e-5)
        assert (found.agreed[place], found.tokens[place]) == (agreed, tokens)


def test_a_passage_is_cut_at_the_shorter_context(pair: Pair) -> None:
    assert pair.context == 24
    ids = list(range(40))
    found = pair.drift([(ids, [1.0] * 40)])
    assert found.tokens.tolist() == [24]
    assert found.forward[0] == pytest.approx(alone(pair, (ids[:24], [1.0] * 24))[0])


def test_nothing_read_is_nothing_found(pair: Pair) -> None:
    assert pair.drift([]).forward.shape == (0,)


def test_the_weights_are_plain_numbers_and_an_infinite_change_is_none() -> None:
    first, second = model(1), model(1)
    with torch.no_grad():
        first.norm.weight.zero_()
    tokenizer = train(["to be or not to be " * 20], 280)
    report = Pair(first, second, tokenizer).weights()
    groups = {group["name"]: group["relative"] for group in report["layers"]}
    assert groups["final norm"] is None
    assert set(groups.values()) == {0.0, None}
    assert report["all"]["elements"] == first.shape.parameters()
    assert len(report["each"]) == 2 + 2 * 11
