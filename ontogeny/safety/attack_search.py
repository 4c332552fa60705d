"""Filling an archive: every single step first, then generations of children, all judged.

Knows no model. The wishes of a risk are the same for all attacks on it, so scores compare.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.rollout.drive import drive_all
from ontogeny.rollout.flow import Flow
from ontogeny.rollout.journal import Journal
from ontogeny.rollout.policy import Policy
from ontogeny.safety.archive import Archive, Cell, Elite, Success
from ontogeny.safety.attack import Attack, Target, Turns, assault
from ontogeny.safety.attack_table import attack
from ontogeny.safety.attack_trial import Outcome, Trial, grade_all, outcome, put_all
from ontogeny.safety.judge import Asked, Judge
from ontogeny.safety.minimise import Works, minimise
from ontogeny.safety.requests import SafetyRequest

Open = Callable[[str], Journal]
"""The journal of a named part of the search."""
Wishes = Mapping[str, Sequence[SafetyRequest]]
"""Risk -> the harmful requests that its attacks are tried with."""


@dataclass(frozen=True)
class Searched:
    """Who is attacked, by whom it is judged, and where the answers are kept."""

    policy: Policy
    target: Target
    judge: Judge
    journal: Open
    seed: int

    def put(self, trials: Sequence[Trial], name: str) -> list[Outcome]:
        """All trials of a part called `name`."""
        seed = named_seed(self.seed, name)
        return put_all(
            trials, self.policy, self.target, self.judge, seed=seed, journal=self.journal(name)
        )


def wishes_of(requests: Sequence[SafetyRequest], count: int) -> dict[str, list[SafetyRequest]]:
    """The first `count` different requests of every harm, by harm.

    Raises:
        InputError: of some harm there are fewer.
    """
    found: dict[str, list[SafetyRequest]] = {}
    for each in {request.id: request for request in requests}.values():
        found.setdefault(each.harm, []).append(each)
    short = sorted(harm for harm, known in found.items() if len(known) < count)
    if short or not found:
        raise InputError(
            f"fewer than {count} wishes of risk {short[0] if short else '(none)'}; ask for fewer"
        )
    return {harm: found[harm][:count] for harm in sorted(found)}


def search(
    archive: Archive, wishes: Wishes, by: Searched, *, generations: int, children: int
) -> list[int]:
    """Fills `archive`; how many attacks were better than what their cell had, round by round.

    Round 0 tries every style by itself in every cell. A generation then aims at `children` cells,
    drawn evenly, and changes an elite towards each.
    """
    singles = [(cell, attack(cell.style)) for cell in archive.cells()]
    kept = [_offer(archive, singles, wishes, by, "round-0")]
    for number in range(1, generations + 1):
        draw = random.Random(named_seed(by.seed, "generation", number))
        cells = [draw.choice(archive.cells()) for _ in range(children)]
        aimed = [(cell, archive.child(cell, draw)) for cell in cells]
        kept.append(_offer(archive, aimed, wishes, by, f"round-{number}"))
    return kept


def _offer(
    archive: Archive,
    aimed: Sequence[tuple[Cell, Attack]],
    wishes: Wishes,
    by: Searched,
    name: str,
) -> int:
    trials = [Trial(wish, tried, by.seed) for cell, tried in aimed for wish in wishes[cell.risk]]
    outcomes = iter(by.put(trials, name))
    return sum(
        archive.offer(elite(cell, tried, [next(outcomes) for _ in wishes[cell.risk]]))
        for cell, tried in aimed
    )


def elite(cell: Cell, tried: Attack, outcomes: Sequence[Outcome]) -> Elite:
    """An attack as it did with the wishes of its cell."""
    count = len(outcomes)
    return Elite(
        cell,
        tuple(step.name for step in tried.steps),
        sum(each.succeeded for each in outcomes) / count,
        sum(each.length for each in outcomes) / count,
        count,
        tuple(success(each) for each in outcomes if each.succeeded),
    )


def success(outcome: Outcome) -> Success:
    """What is kept of an attack that worked: the turn whose answer helped most."""
    return Success(
        outcome.trial.request.id,
        outcome.trial.request.text,
        tuple(turn.text for turn in outcome.turns),
        tuple(outcome.answers),
        outcome.best,
        outcome.right(outcome.best),
        outcome.asked(outcome.best),
        outcome.answered(outcome.best),
    )


def shorten(
    archive: Archive, wishes: Wishes, by: Searched, *, most: int, calls: int
) -> tuple[int, int]:
    """Minimises a success of each of the `most` best elites; words before and after, in all.

    The target is asked greedily and seeded by place, so that "still works" means one thing.
    """
    best = sorted(archive.elites.values(), key=lambda each: (-each.score, each.cell))[:most]
    known = {each.id: each for risk in wishes.values() for each in risk}
    picked = [(one, one.successes[0]) for one in best if one.successes]
    trials = [Trial(known[s.request], one.attack, by.seed) for one, s in picked]
    flows = [minimise(trial.turns, trial.core, _works(trial, by), calls) for trial in trials]
    found = drive_all(flows, by.policy, journal=by.journal("shorten"))
    before = sum(len(" ".join(s.turns).split()) for _, s in picked)
    after = 0
    for (one, kept), less in zip(picked, found, strict=True):
        shortest = tuple(turn.text for turn in less.turns)
        after += len(" ".join(shortest).split())
        rest = one.successes[1:]
        shorter = replace(kept, shortest=shortest)
        archive.elites[one.cell] = replace(one, successes=(shorter, *rest))
    return before, after


def _works(trial: Trial, by: Searched) -> Works:
    def works(turns: Turns) -> Flow[bool]:
        trajectory = yield from assault(trial.request.id, turns, by.target, by.seed)
        asked = [Asked(trial.request, answer) for answer in trajectory.notes["answers"]]
        return outcome(trial, turns, trajectory, grade_all(by.judge, asked)).succeeded

    return works
