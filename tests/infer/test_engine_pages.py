"""The engine knows slots only: with pages under them it says the same and leaves nothing behind."""

from __future__ import annotations

import random
from typing import Literal

import pytest

from ontogeny.infer.engine import Engine
from ontogeny.infer.handle import Handle
from ontogeny.plan.sampling import Sampling
from tests.support.families import FAMILIES, made

SMALL = 4


def answers(
    engine: Engine, prompts: list[list[int]], news: list[int], cancelled: int
) -> list[Handle]:
    greedy = Sampling(temperature=0.0)
    handles = [
        engine.submit(prompt, new, greedy) for prompt, new in zip(prompts, news, strict=True)
    ]
    for turn in range(1000):
        if turn == 5:
            engine.cancel(handles[cancelled])
        if not engine.busy:
            return handles
        engine.step()
    raise AssertionError("no end")


@pytest.mark.parametrize("admission", ["lockstep", "ready"])
@pytest.mark.parametrize("family", ["qwen3", "gemma2", "mistral, windows"])
def test_tokens_on_pages_are_tokens_in_slots(
    family: str, admission: Literal["lockstep", "ready"]
) -> None:
    draw = random.Random(3)
    shared = [draw.randrange(67) for _ in range(11)]
    prompts = [shared + [draw.randrange(67) for _ in range(draw.randint(0, 9))] for _ in range(9)]
    news = [draw.randint(1, 15) for _ in prompts]
    model = made(FAMILIES[family])
    expected, got = [], []
    for page, handles in ((0, expected), (SMALL, got)):
        model.page = page
        engine = Engine(model, 4, 40, admission=admission)
        handles += answers(engine, prompts, news, cancelled=2)
    for mine, theirs in zip(got, expected, strict=True):
        assert (mine.ids, mine.finish) == (theirs.ids, theirs.finish)
        assert mine.log_probs == pytest.approx(theirs.log_probs, abs=1e-4)
    engine.forget()
    pages = engine._caches.state.pages
    assert pages is not None and pages.used == 0
