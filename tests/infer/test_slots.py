"""Slots are given away in a repeatable order, never twice, and know what lies in them."""

import numpy as np
import pytest

from ontogeny.infer.slots import LEAST, Place, Slots

LONG = np.arange(1, 6 * LEAST + 1, dtype=np.int32)


def ids(*numbers):
    return np.array(numbers, np.int32)


def test_empty_slots_are_given_lowest_first_and_never_twice():
    slots = Slots(3, 4)
    assert [slots.take(ids(n)).slot for n in range(3)] == [0, 1, 2]
    slots.give_back(2)
    slots.give_back(0)
    assert slots.take(ids(5)) == Place(0, 0, 0)
    with pytest.raises(AssertionError):
        slots.give_back(2)
    assert len(slots) == 1


def test_the_slot_unused_for_longest_goes_first_and_empty_ones_before_it():
    slots = Slots(3, 4)
    first, second = (slots.take(ids(n)).slot for n in (1, 2))
    slots.give_back(second, ids(2, 2))
    slots.give_back(first, ids(1, 1))
    assert [slots.take(ids(n)).slot for n in (3, 4, 5)] == [2, second, first]


def test_what_goes_on_where_a_slot_ended_gets_that_slot():
    slots = Slots(4, 200)
    slots.give_back(slots.take(LONG[:40]).slot, LONG[:50])
    slots.give_back(slots.take(ids(7)).slot, ids(7, 8))
    assert slots.take(LONG) == Place(0, 0, 50)
    assert slots.take(LONG[:45]) == Place(2, 0, 45)


def test_a_kept_conversation_is_not_given_up_for_a_shared_beginning():
    slots = Slots(2, 200)
    slots.give_back(slots.take(LONG).slot, LONG)
    other = np.concatenate([LONG[:LEAST], ids(0)])
    assert slots.take(other) == Place(1, 0, LEAST)
    assert slots.take(LONG) == Place(0, 0, len(LONG))


def test_the_last_free_slot_is_given_up_whatever_it_keeps():
    slots = Slots(1, 200)
    slots.give_back(slots.take(LONG).slot, LONG)
    assert slots.take(np.concatenate([LONG[:40], ids(0)])) == Place(0, 0, 40)


@pytest.mark.parametrize("count", [1, LEAST - 1])
def test_a_short_common_beginning_is_not_worth_a_copy(count):
    slots = Slots(2, 200)
    slots.take(LONG)
    assert slots.take(np.concatenate([LONG[:count], ids(0, 0)])) == Place(1, 1, 0)


def test_an_equal_prompt_is_found_however_short():
    slots = Slots(3, 200)
    slots.take(ids(4, 5))
    assert slots.take(ids(4, 5)) == Place(1, 0, 2)


def test_in_a_crowd_all_follow_the_first_unless_another_shares_much_more():
    slots = Slots(4, 200)
    slots.take(LONG)
    near = np.concatenate([LONG[:40], ids(0, 0, 0, 0)])
    assert slots.take(near).source == 0
    assert slots.take(np.concatenate([near, ids(0)])).source == 0
    far = np.concatenate([LONG[:40], np.zeros(LEAST + 10, np.int32)])
    assert slots.take(far).source == 0
    slots.give_back(2)
    assert slots.take(np.concatenate([far, ids(1)])) == Place(2, 3, len(far))


def test_what_is_forgotten_is_not_found():
    slots = Slots(2, 200)
    slots.give_back(slots.take(LONG).slot, LONG)
    slots.forget()
    assert slots.take(LONG) == Place(0, 0, 0)
