"""A trajectory keeps tokens and log-probs as sampled, and reads back from JSON bit for bit."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.rollout.policy import Completion, Request
from ontogeny.rollout.trajectory import (
    Trajectory,
    Turn,
    completion_from_json,
    completion_to_json,
)

ids = st.lists(st.integers(0, 2**31), max_size=5).map(tuple)


@st.composite
def completions(draw):
    said = draw(ids)
    floats = st.floats(allow_nan=False, allow_infinity=False)
    log_probs = tuple(draw(floats) for _ in said)
    versions = tuple(draw(st.integers(0, 99)) for _ in said)
    finish, matched = draw(st.sampled_from(["stop", "length"])), draw(st.none() | st.text())
    best = st.lists(st.tuples(st.integers(0, 2**31), floats), max_size=3).map(tuple)
    top = tuple(draw(best) for _ in said) if draw(st.booleans()) else ()
    return Completion(said, log_probs, versions, finish, matched, top)


trajectories = st.builds(
    Trajectory,
    st.text(),
    st.integers(0, 2**63 - 1),
    st.lists(st.builds(Turn, ids, completions()), max_size=4).map(tuple),
    st.dictionaries(st.text(), st.integers() | st.text() | st.none()),
)


@given(trajectories)
def test_a_trajectory_reads_back_equal_from_json(trajectory):
    text = json.dumps(trajectory.to_json(), allow_nan=False)
    assert Trajectory.from_json(json.loads(text)) == trajectory


def test_a_log_prob_that_nobody_said_is_null_in_json_and_nan_again():
    one = Completion((8, 9), (-0.5, math.nan), (0, 0), "length")
    trajectory = Trajectory("t", 0).extended(Request((1, 2), 5), one)
    text = json.dumps(trajectory.to_json(), allow_nan=False)
    assert "[-0.5, null]" in text
    known, unknown = Trajectory.from_json(json.loads(text)).turns[0].completion.log_probs
    assert known == -0.5
    assert math.isnan(unknown)


@given(trajectories)
def test_masks_and_log_probs_align_with_the_tokens(trajectory):
    length = len(trajectory.ids())
    columns = trajectory.sampled(), trajectory.log_probs(), trajectory.versions()
    assert [len(column) for column in columns] == [length] * 3
    said = [i for turn in trajectory.turns for i in turn.completion.ids]
    chosen = zip(trajectory.ids(), trajectory.sampled(), strict=True)
    assert [i for i, sampled in chosen if sampled] == said
    assert all(v == -1 for v, s in zip(columns[2], columns[0], strict=True) if not s)


def test_turns_continue_token_by_token():
    one = Completion((8, 9), (-0.5, -0.25), (0, 1), "stop")
    trajectory = Trajectory("t", 0).extended(Request((1, 2), 5), one)
    trajectory = trajectory.extended(Request((1, 2, 8, 9, 3), 5), one)
    assert trajectory.turns[1].context == (3,)
    assert trajectory.ids() == (1, 2, 8, 9, 3, 8, 9)
    assert trajectory.log_probs() == (0.0, 0.0, -0.5, -0.25, 0.0, -0.5, -0.25)
    assert trajectory.versions() == (-1, -1, 0, 1, -1, 0, 1)
    with pytest.raises(InputError, match="prefix-stable"):
        trajectory.extended(Request((1, 2, 8, 7, 3, 8, 9), 5), one)
    with pytest.raises(InputError, match="prefix-stable"):
        trajectory.extended(Request((1, 2), 5), one)


@pytest.mark.parametrize(
    "damage",
    [
        lambda r: r.pop("task"),
        lambda r: r.update(seed=True),
        lambda r: r.update(turns=None),
        lambda r: r.update(turns=[7]),
        lambda r: r.update(notes=[]),
        lambda r: r["turns"][0].update(ids=[1.5, 2]),
        lambda r: r["turns"][0].update(ids=[1]),
        lambda r: r["turns"][0].update(log_probs=[math.nan, 0]),
        lambda r: r["turns"][0].update(finish="tired"),
        lambda r: r["turns"][0].update(matched=3),
        lambda r: r["turns"][0].update(log_probs=None),
        lambda r: r["turns"][0].update(log_probs=[None, "0"]),
        lambda r: r["turns"][0].update(log_probs=[None, -(10**400)]),
        lambda r: r["turns"][0].update(log_probs=[None, False]),
        lambda r: r["turns"][0].update(top=[[[1, -0.5]]]),
        lambda r: r["turns"][0].update(top=[[[1, -0.5]], [[1, math.nan]]]),
        lambda r: r["turns"][0].update(top=[[[1, -0.5]], [[1]]]),
        lambda r: r["turns"][0].update(top=7),
        lambda r: r["turns"][0].pop("context"),
    ],
)
def test_a_damaged_trajectory_is_refused_in_one_line(damage):
    one = Completion((8, 9), (-0.5, -0.25), (0, 1), "stop")
    record = Trajectory("t", 0).extended(Request((1, 2), 5), one).to_json()
    damage(record)
    with pytest.raises(InputError) as caught:
        Trajectory.from_json(record)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        Trajectory.from_json([record])


def test_what_a_server_did_not_say_and_what_ended_it_read_back_too():
    top = (((4, -0.5), (5, -1.5)), ((6, -0.25),))
    said = Completion((8, 9), (math.nan, -0.25), (0, 0), "stop", "END", top)
    record = json.loads(json.dumps(completion_to_json(said), allow_nan=False))
    back = completion_from_json(record)
    assert math.isnan(back.log_probs[0])
    assert (back.log_probs[1], back.matched, back.top) == (-0.25, "END", top)
    for wrong in ({"top": [[[4]]]}, {"top": [[]]}, {"matched": 7}, {"log_probs": None}):
        with pytest.raises(InputError):
            completion_from_json(record | wrong)
