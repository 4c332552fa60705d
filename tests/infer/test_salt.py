"""What was read for one salt is never used for another, and answers do not depend on it."""

import numpy as np
import pytest
from infer.test_reuse import SHAPE

from ontogeny.infer.engine import Engine
from ontogeny.infer.slots import Place, Slots
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.sampling import GREEDY

LONG = np.arange(1, 60, dtype=np.int32)


@pytest.fixture(scope="module")
def model():
    made = Transformer(SHAPE)
    initialise(made, 2)
    return made


def test_a_slot_is_a_source_for_its_own_salt_alone():
    slots = Slots(3, 100)
    slots.give_back(slots.take(LONG, 7).slot, LONG)
    assert slots.take(LONG, 8).shared == 0
    assert slots.take(LONG) == Place(2, 2, 0)
    assert slots.take(LONG, 7) == Place(0, 0, len(LONG))


def test_a_slot_changes_its_salt_with_its_tokens():
    slots = Slots(1, 100)
    slots.give_back(slots.take(LONG, 7).slot, LONG)
    slots.give_back(slots.take(LONG, 8).slot, LONG)
    assert slots.take(LONG, 8) == Place(0, 0, len(LONG))


@pytest.mark.parametrize("admission", ["lockstep", "ready"])
def test_the_engine_shares_within_a_salt_and_says_the_same(model, admission):
    prompt = tuple(range(1, 50))

    def said(*salts):
        engine = Engine(model, 4, 80, admission=admission)
        handles = [engine.submit(prompt, 6, GREEDY, salt=salt) for salt in salts]
        while engine.busy:
            engine.step()
        return [handle.ids for handle in handles], engine.counts.reused_tokens

    together, shared = said(3, 3)
    apart, none = said(3, 4)
    assert together == apart
    assert shared > 0 and none == 0
