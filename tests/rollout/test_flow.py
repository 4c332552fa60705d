"""Flows compose, are driven in rounds, and continue from a journal as if nothing had happened."""

import asyncio
import math
from functools import partial

import pytest

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.seeds import named_seed
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.drive import drive, drive_all
from ontogeny.rollout.fakes import ScriptedPolicy, UniformPolicy
from ontogeny.rollout.flow import Execute, Outcome, Sample, Score
from ontogeny.rollout.journal import FileJournal
from ontogeny.rollout.policy import Completion, Continuation, Likelihood, Request
from ontogeny.rollout.trajectory import Trajectory
from ontogeny.text.grammar import Grammar


class Interrupted(Exception):
    pass


class StoppingJournal(list):
    """Dies before (or after) keeping record number `at`."""

    def __init__(self, records, at, kept):
        super().__init__(records)
        self.at, self.kept = at, kept

    def append(self, record):
        if len(self) == self.at and not self.kept:
            raise Interrupted
        super().append(record)
        if len(self) > self.at:
            raise Interrupted


class Sums:
    """Each episode's world is a running sum; the tool adds to it."""

    def __init__(self):
        self.worlds = {}

    async def execute(self, episode, request):
        self.worlds[episode] = self.worlds.get(episode, 0) + request.arguments["add"]
        await asyncio.sleep(0)
        return Outcome(True, str(self.worlds[episode]))


def one_turn(trajectory, seed, name):
    request = Request((*trajectory.ids(), 1), 3, Sampling(seed=named_seed(seed, name)))
    completion = yield Sample(request)
    return trajectory.extended(request, completion)


def episode(task, seed, turns):
    trajectory = Trajectory(task, seed)
    for turn in range(turns):
        trajectory = yield from one_turn(trajectory, seed, f"turn {turn}")
        outcome = yield Execute("sum", {"add": trajectory.ids()[-1]})
        trajectory = trajectory.noted(**{f"sum {turn}": outcome.output})
    a, b = yield (
        Score(Continuation((1,), trajectory.ids())),
        Sample(Request((2,), 2, Sampling(seed=named_seed(seed, "last")))),
    )
    nothing = yield ()
    assert nothing == ()
    return trajectory.noted(total=a.total(), last=list(b.ids))


def episodes():
    return [episode(f"task {i}", named_seed(0, i), turns=1 + i % 3) for i in range(5)]


def test_a_flow_is_answered_alone_or_in_tuples_and_composes():
    results = drive_all(episodes(), UniformPolicy(100), Sums())
    assert [len(r.turns) for r in results] == [1, 2, 3, 1, 2]
    for result in results:
        lasts = [turn.completion.ids[-1] for turn in result.turns]
        assert result.notes["sum 0"] == str(lasts[0])
        assert result.notes[f"sum {len(lasts) - 1}"] == str(sum(lasts))
        assert len(result.ids()) == 4 * len(result.turns)


def test_both_admissions_play_the_same_episodes():
    lockstep = drive_all(episodes(), UniformPolicy(100), Sums())
    ready = drive_all(episodes(), UniformPolicy(100), Sums(), admission="ready")
    assert lockstep == ready


@pytest.mark.parametrize("admission", ["lockstep", "ready"])
@pytest.mark.parametrize("kept", [True, False])
def test_interrupted_at_every_step_the_result_and_the_journal_are_the_same(admission, kept):
    whole = []
    expected = drive_all(episodes(), UniformPolicy(100), Sums(), admission=admission, journal=whole)
    sums = {i: int(r.notes[f"sum {len(r.turns) - 1}"]) for i, r in enumerate(expected)}
    for at in range(len(whole)):
        journal = StoppingJournal([], at, kept)
        with pytest.raises(Interrupted):
            drive_all(episodes(), UniformPolicy(100), Sums(), admission=admission, journal=journal)
        continued, tools = list(journal), Sums()
        play = partial(drive_all, episodes(), UniformPolicy(100), tools, admission=admission)
        assert play(journal=continued) == expected
        assert tools.worlds == sums
        if admission == "lockstep":
            assert continued == whole
        else:  # steps of different episodes may be logged in another order
            assert sorted(map(str, continued)) == sorted(map(str, whole))


def test_what_the_journal_holds_is_not_asked_again():
    whole = []
    first = ScriptedPolicy(lambda request: [len(request.prompt)] * 3)
    expected = drive_all(episodes(), first, Sums(), journal=whole)
    again = ScriptedPolicy(lambda _: pytest.fail("asked"))
    assert drive_all(episodes(), again, Sums(), journal=whole) == expected


def test_lockstep_asks_in_rounds_of_all_who_wait():
    policy = ScriptedPolicy(lambda _: [1, 2, 3])
    journal = []
    drive_all(episodes(), policy, Sums(), journal=journal)
    waiting = [[step["episode"] for step in record["steps"]] for record in journal]
    assert waiting == [
        [0, 1, 2, 3, 4],
        [0, 1, 2, 3, 4],
        [0, 1, 2, 3, 4],
        [1, 2, 4],
        [1, 2, 4],
        [2],
        [2],
    ]


def test_a_file_journal_survives_a_torn_last_line_and_nothing_else(tmp_path):
    path = tmp_path / "journal.jsonl"
    expected = drive_all(episodes(), UniformPolicy(100), Sums(), journal=FileJournal(path))
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in range(0, len(whole), 997):
        path.write_bytes(whole[:cut])
        policy = UniformPolicy(100)
        assert drive_all(episodes(), policy, Sums(), journal=FileJournal(path)) == expected
        assert path.read_bytes() == whole
    path.write_bytes(lines[0] + b"{broken\n" + lines[2])
    with pytest.raises(CorruptArtifact) as caught:
        FileJournal(path)
    assert f"{path}:2:" in str(caught.value)


class Partial:
    """A policy that says what a remote server might: no log-probs, a stop string, likely others."""

    async def sample(self, *_):
        unsaid = (math.nan,) * 2
        return Completion((5, 6), unsaid, (0, 0), "stop", "so", (((5, -0.1), (7, -2.5)), ()))

    async def score(self, _):
        return Likelihood((-1.0,), (True,), 0)


def test_all_that_a_completion_says_is_heard_again_from_a_journal(tmp_path):
    def asks():
        said = yield Sample(Request((1,), 2))
        scored = yield Score(Continuation((1,), (2,)))
        return said, scored

    path = tmp_path / "journal.jsonl"
    first = drive_all([asks()], Partial(), journal=FileJournal(path))
    assert b'"log_probs":[null,null]' in path.read_bytes()
    silent = ScriptedPolicy(lambda _: pytest.fail("asked"))
    (again,) = drive_all([asks()], silent, journal=FileJournal(path))
    assert repr(again) == repr(first[0])  # NaN is equal to nothing


def test_a_request_with_wishes_is_part_of_what_a_journal_answers():
    def asks(**wishes):
        return (yield Sample(Request((1,), 2, **wishes)))

    journal = []
    drive_all(
        [asks(stop_strings=("a",), grammar=Grammar("regex", "x"))], Partial(), journal=journal
    )
    for others in ({}, {"stop_strings": ("b",)}, {"top_log_probs": 1}):
        with pytest.raises(InputError, match="give a new journal"):
            drive_all([asks(**others)], Partial(), journal=journal)


@pytest.mark.parametrize("admission", ["lockstep", "ready"])
def test_a_cancelled_drive_stops_all_it_asked_and_goes_on_from_its_journal(admission):
    running = []

    class Slow(UniformPolicy):
        async def sample(self, request, sink=None):
            running.append(request)
            try:
                for _ in range(3):
                    await asyncio.sleep(0)
                return await super().sample(request, sink)
            finally:
                running.remove(request)

    journal = []

    async def play(turns):
        task = asyncio.create_task(
            drive(episodes(), Slow(100), Sums(), admission=admission, journal=journal)
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert running == []

    for turns in (1, 3, 9, 14):
        asyncio.run(play(turns))
    assert journal
    found = drive_all(episodes(), Slow(100), Sums(), admission=admission, journal=journal)
    assert found == drive_all(episodes(), UniformPolicy(100), Sums())


def test_a_journal_of_other_episodes_is_refused():
    journal = []
    drive_all(episodes(), UniformPolicy(100), Sums(), journal=journal)
    others = [episode("other", seed, 1) for seed in range(5)]
    with pytest.raises(InputError, match="give a new journal"):
        drive_all(others, UniformPolicy(100), Sums(), journal=journal)
    with pytest.raises(InputError, match="give a new journal"):
        drive_all(episodes()[:2], UniformPolicy(100), Sums(), journal=journal)
    for damaged in ({}, {"steps": [{"episode": 0}]}, {"steps": 3}):
        with pytest.raises(InputError, match="give a new journal"):
            drive_all(episodes(), UniformPolicy(100), Sums(), journal=[damaged])


def test_a_failing_flow_closes_the_others_and_is_reported():
    closed = []

    def patient(name):
        try:
            yield Sample(Request((1,), 2))
            yield Sample(Request((1,), 2))
        finally:
            closed.append(name)

    def failing():
        yield Sample(Request((1,), 2))
        raise InputError("a flow's mistake")

    for admission in ("lockstep", "ready"):
        closed.clear()
        flows = [patient("a"), failing(), patient("b")]
        with pytest.raises(InputError, match="a flow's mistake"):
            drive_all(flows, UniformPolicy(9), admission=admission)
        assert closed == ["a", "b"]


def test_a_tool_without_an_executor_is_refused_by_name():
    with pytest.raises(InputError, match="'sum'"):
        drive_all(episodes(), UniformPolicy(9))


def test_driving_nothing_gives_nothing():
    assert asyncio.run(drive([], UniformPolicy(2))) == []
