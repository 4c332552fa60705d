"""A trajectory keeps tokens and log-probs as sampled, and reads back from JSON bit for bit."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.rollout.policy import Completion, Request
from ontogeny.rollout.trajectory import Trajectory, Turn

ids = st.lists(st.integers(0, 2**31), max_size=5).map(tuple)


@st.composite
def completions(draw):
    said = draw(ids)
    floats = st.floats(allow_nan=False, allow_infinity=False)
    log_probs = tuple(draw(floats) for _ in said)
    versions = tuple(draw(st.integers(0, 99)) for _ in said)
    return Completion(said, log_probs, versions, draw(st.sampled_from(["stop", "length"])))


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
