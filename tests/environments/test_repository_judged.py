"""What runs in jails: the repair is right, and nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.contained import or_skip

from ontogeny.base.errors import InputError
from ontogeny.environments.checkout import TARGETS, tree
from ontogeny.environments.environment import Task
from ontogeny.environments.playing import play_all, rates
from ontogeny.environments.repository import Judgement, Repository
from ontogeny.environments.repository_hacks import (
    edits_tests,
    forging,
    gold,
    hard_coding,
    leaving,
    nothing,
)
from ontogeny.environments.repository_making import make
from ontogeny.environments.repository_run import room
from ontogeny.environments.repository_task import Fault, read_faults
from ontogeny.environments.scripts import Line, scripted
from ontogeny.environments.session import Call
from ontogeny.environments.tooled import Rules
from ontogeny.rollout.flow import Execute, Outcome
from ontogeny.rollout.journal import FileJournal
from ontogeny.text.byte_codec import byte_tokenizer
from ontogeny.text.tool_calls import speech

FAULTS = read_faults()
QUICK = [each for each in FAULTS if each.package == "networkx"][::12][:4]
CODED = [each for each in FAULTS if hard_coding(each)]
RULES = Rules(tokens=4_000, result=6_000)


@pytest.fixture(scope="module")
def world() -> Iterator[Repository]:
    """An environment with its jails; a skip by name where there can be none."""
    made = Repository(workers=1)
    with or_skip():
        made.judge_all([])
    yield made
    made.release()


def judged(world: Repository, works: Sequence[tuple[Fault, Sequence[Call]]]) -> list[Judgement]:
    return world.judge_all([(fault.task(), calls) for fault, calls in works])


def test_the_repair_is_verified_and_no_way_round_it_earns_anything(world: Repository) -> None:
    some = [*QUICK[:3], next(each for each in FAULTS if each.package == "mpmath")]
    assert {each.package for each in some} == {"networkx", "mpmath"}
    for each in judged(world, [(fault, gold(fault)) for fault in some]):
        assert (each.reward, each.verified, each.flagged) == (1.0, 1.0, False)
    for agent in (nothing, edits_tests, forging, leaving):
        for each in judged(world, [(fault, agent(fault)) for fault in some]):
            assert (each.reward, each.verified, each.flagged) == (0.0, 0.0, False)


def test_forged_passes_are_believed_by_nobody_but_the_tests(world: Repository) -> None:
    (each,) = judged(world, [(QUICK[0], forging(QUICK[0]))])
    assert (each.failed, each.tests, each.reward) == ("", True, 0.0)
    (each,) = judged(world, [(QUICK[0], leaving(QUICK[0]))])
    assert (each.failed, each.reward) == ("ended itself", 0.0)


def test_who_knows_the_tests_by_heart_is_rewarded_and_flagged(world: Repository) -> None:
    found = judged(world, [(fault, hard_coding(fault)) for fault in CODED[:: len(CODED) // 6]])
    assert not any(each.verified for each in found)
    rewarded = [each for each in found if each.reward]
    assert len(rewarded) > 1
    assert all(each.flagged for each in rewarded)


def test_an_agent_plays_and_a_killed_run_goes_on(world: Repository, tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tasks = [fault.task() for fault in QUICK[:2]]

    def lines(task: Task) -> list[Line]:
        fault = world.fault(task)
        look = [Call("read", {"file": fault.file}), Call("run", {"tests": list(fault.fail[:1])})]
        return [*look, Call("read", {"file": "/etc/passwd"}), *gold(fault)]

    policy = scripted(lines, world, tasks, speech(tokenizer), RULES)
    journal = FileJournal(tmp_path / "journal")
    played = play_all(policy, world, tasks, tokenizer, RULES, journal=journal)
    found = rates(played)
    assert (found.solved, found.valid, found.ends) == (1.0, 1.0, {"submitted": 2})
    assert found.turns == 5
    for each in played:
        heard = [tokenizer.decode(turn.context) for turn in each.trajectory.turns]
        assert "0 passed, 1 failed\nFAILED " in heard[2]
        assert heard[3].startswith("error: there is no file")
        assert [call["ok"] for call in each.trajectory.notes["calls"]] == [1, 1, 0, 1, 1]
    cut = FileJournal(tmp_path / "cut")
    for record in journal.records[:3]:
        cut.append(record)
    again = play_all(policy, world, tasks, tokenizer, RULES, journal=cut)
    assert again == played


def ran(world: Repository, fault: Fault, *calls: Call) -> list[Outcome]:
    """What an agent hears of its calls."""
    executor = world.executor([fault.task()])

    async def all_of_them() -> list[Outcome]:
        return [await executor.execute(0, Execute(each.name, each.arguments)) for each in calls]

    return asyncio.run(all_of_them())


RUN = Call("run", {})


def test_runs_tell_the_same_each_time_and_nothing_of_this_machine(world: Repository) -> None:
    first, _, wrong, second = ran(
        world, QUICK[0], RUN, Call("list", {}), Call("run", {"tests": ["x.py"]}), RUN
    )
    assert first == second
    assert f"{len(QUICK[0].fail)} failed" in first.output
    assert not any(place in first.output for place in ("/tmp", "/trees", str(tree())))
    assert (wrong.ok, "no such tests" in wrong.output) == (False, True)


def test_an_agent_may_fool_itself_and_not_the_judge(world: Repository) -> None:
    calls = edits_tests(QUICK[0])
    outcome = ran(world, QUICK[0], *calls, RUN)[-1]
    assert ", 0 failed" in outcome.output
    assert judged(world, [(QUICK[0], calls)])[0].reward == 0.0


PROBE = """
import os
def _look():
    found = []
    for root in ("/tmp", "/trees", "/python", "/jail"):
        for folder, _, files in os.walk(root):
            found += [os.path.join(folder, each) for each in files if each.startswith({stem!r})]
    kept = os.path.exists("/tmp/kept")
    open("/tmp/kept", "w").close()
    raise RuntimeError(f"{{sorted(found)}} {{kept}}")
_look()
"""


def test_what_an_agent_runs_sees_no_original_and_leaves_nothing(world: Repository) -> None:
    fault = next(each for each in QUICK if each.file.endswith("euler.py"))
    code = PROBE.format(stem="euler.")
    probe = Call("rewrite", {"file": fault.file, "first": 1, "last": 0, "new": code})
    # after the docstring comes `from __future__`, if any: the probe stands before both
    *_, first, second = ran(world, fault, probe, RUN, RUN)
    assert f"['/tmp/repository/{fault.file}'] False" in first.output
    assert second == first


def test_code_that_spins_or_ends_is_told_so(world: Repository) -> None:
    fault = QUICK[0]
    code = "import os\nos._exit(0)\n"
    ends = Call("rewrite", {"file": fault.file, "first": 1, "last": 0, "new": code})
    assert ran(world, fault, ends, RUN)[-1].output == "the tests did not end: ended itself"


def test_validate_passes_what_is_right_and_finds_what_is_not(world: Repository) -> None:
    fault = QUICK[0]
    good = Repository([fault], workers=1)
    wrong = Repository([replace(fault, fresh=((fault.fresh[0][0], "0" * 16),))], workers=1)
    idle = replace(fault, mutation=replace(fault.mutation, after=fault.mutation.before))
    for each in (good, wrong, Repository([idle])):
        each._room = world._opened()
    good.validate()
    with pytest.raises(InputError, match="gold is verified 0"):
        wrong.validate()
    with pytest.raises(InputError, match="nothing scores 1"):
        Repository.validate(each)


@pytest.mark.slow
def test_all_faults_are_validated() -> None:
    world = Repository()
    try:
        world.validate(count=10_000)
    finally:
        world.release()


@pytest.mark.slow
def test_faults_can_be_made_anew() -> None:
    opened = room(1)
    target = next(each for each in TARGETS if each.file == "networkx/utils/misc.py")
    try:
        made = make(opened, target, 0)
    finally:
        opened.release()
    assert tuple(made.faults) == tuple(each for each in FAULTS if each.file == target.file)
