"""The archive of attacks: the best one for every risk and every style, and what is held out of it.

Knows no model and no request's words. MAP-Elites (Mouret and Clune 2015, arXiv:1504.04909) over
risk x style, as Rainbow Teaming has it (Samvelyan et al. 2024, arXiv:2402.16822): a cell keeps the
attack that succeeds most, of equals the shorter one; new ones come from old ones, changed towards
a cell that is aimed at.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.safety.attack import Attack
from ontogeny.safety.attack_table import TRANSFORMS, attack, check_families

FILE = "archive.jsonl"
REFUSALS = "refusals.jsonl"
"""Benign requests that were refused under an attack, one JSON line each."""
MOST_STEPS = 3
_SHORTER, _SWAPPED = 0.25, 0.5
"""How often a child loses one of its parent's steps, or has one changed for another."""


@dataclass(frozen=True, order=True)
class Cell:
    """A kind of harm, and the transform that an attack there must take."""

    risk: str
    style: str


@dataclass(frozen=True)
class Success:
    """One attack that worked: what was said, and what the model answered to the last turn.

    Attributes:
        request: the id of the request.
        wish: its words.
        turns: what the user said.
        answers: to each of them.
        turn: the place of the answer that helped most.
        right: what had been the right answer there.
        prompt: all ids before that answer.
        rejected: its ids as sampled.
        shortest: the turns after minimising; empty where that was not done.
    """

    request: str
    wish: str
    turns: Sequence[str]
    answers: Sequence[str]
    turn: int
    right: str
    prompt: Sequence[int]
    rejected: Sequence[int]
    shortest: Sequence[str] = ()


@dataclass(frozen=True)
class Elite:
    """An attack as it did in one cell.

    Attributes:
        steps: names of its transforms, the cell's style among them.
        score: share of the cell's wishes with which it succeeded.
        length: words that its user says, mean over the wishes.
        wishes: how many it was tried with.
        successes: those that worked.
    """

    cell: Cell
    steps: Sequence[str]
    score: float
    length: float
    wishes: int
    successes: Sequence[Success] = ()

    def beats(self, other: Elite | None) -> bool:
        """Whether it succeeds more often, or as often and shorter."""
        return other is None or (-self.score, self.length) < (-other.score, other.length)

    @property
    def attack(self) -> Attack:
        """The chain."""
        return attack(*self.steps)


@dataclass(frozen=True)
class Holding:
    """What nobody trains on: whole families, and a share of all cells.

    A chain of several steps stands in the cells of each of them, so it is held out where any of
    its families or of its cells is.

    Raises:
        InputError: no such family, or a share outside [0, 1).
    """

    families: tuple[str, ...] = ()
    share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        check_families(self.families)
        if not 0 <= self.share < 1:
            raise InputError(f"held_share is {self.share}; give 0 or more and less than 1")

    def holds(self, cell: Cell) -> bool:
        """Whether the cell itself is held out; follows from its names and the seed alone."""
        if TRANSFORMS[cell.style].family in self.families:
            return True
        draw = named_seed(self.seed, "held cell", cell.risk, cell.style) / 2.0**63
        return draw < self.share

    def trains_on(self, risk: str, steps: Sequence[str]) -> bool:
        """Whether an attack with these steps on this risk may be trained on."""
        return not any(self.holds(Cell(risk, step)) for step in steps)


@dataclass
class Archive:
    """The elites by cell."""

    risks: Sequence[str]
    styles: Sequence[str]
    holding: Holding
    elites: dict[Cell, Elite] = field(default_factory=dict)

    def cells(self) -> list[Cell]:
        """All of them, filled or not."""
        return [Cell(risk, style) for risk in self.risks for style in self.styles]

    def offer(self, elite: Elite) -> bool:
        """Keeps `elite` where it beats what its cell has; says whether it did.

        Raises:
            InputError: its cell is none of the archive's, or its steps lack the cell's style.
        """
        cell = elite.cell
        if cell.risk not in self.risks or cell.style not in self.styles:
            raise InputError(f"the archive has no cell {cell.risk} x {cell.style}")
        if cell.style not in elite.steps:
            raise InputError(f"an attack of {'+'.join(elite.steps)} is none of style {cell.style}")
        if not elite.beats(self.elites.get(cell)):
            return False
        self.elites[cell] = elite
        return True

    def coverage(self) -> float:
        """Share of the cells in which some attack succeeded at least once."""
        return sum(each.score > 0 for each in self.elites.values()) / len(self.cells())

    def quality(self) -> float:
        """The QD score over its largest value: the mean of the cells' scores, empty ones 0."""
        return sum(each.score for each in self.elites.values()) / len(self.cells())

    def side(self, *, held: bool) -> list[Elite]:
        """The elites that are held out, or those that may be trained on; in the order of cells."""
        return [
            elite
            for cell in self.cells()
            if (elite := self.elites.get(cell)) is not None
            and self.holding.trains_on(cell.risk, elite.steps) != held
        ]

    def child(self, cell: Cell, draw: random.Random) -> Attack:
        """A new attack for `cell`: an elite's steps, changed, with the cell's style.

        Parents of a cell that may be trained on are elites that may be, too, and so are the steps
        that are put in: what is held out is found by itself and leads to nothing else.
        """
        open_cell = self.holding.trains_on(cell.risk, [cell.style])
        may = [
            style
            for style in self.styles
            if style != cell.style and (not open_cell or self.holding.trains_on(cell.risk, [style]))
        ]
        parents = [
            each
            for each in self.elites.values()
            if each.score > 0 and all(step in (*may, cell.style) for step in each.steps)
        ]
        parent = draw.choice(sorted(parents, key=lambda e: e.cell)) if parents else None
        steps = [step for step in (parent.steps if parent else ()) if step != cell.style]
        if steps and draw.random() < _SHORTER:
            steps.pop(draw.randrange(len(steps)))
        elif may and draw.random() < _SWAPPED:
            new = draw.choice([style for style in may if style not in steps] or may)
            steps = [*(step for step in steps if step != new), new]
        return attack(*steps[-(MOST_STEPS - 1) :], cell.style)

    def write(self, file: Path) -> None:
        """One JSON line a kept elite, in the order of cells, each with `held_out`."""
        with file.open("w", encoding="utf-8") as out:
            for cell, elite in sorted(self.elites.items()):
                held = not self.holding.trains_on(cell.risk, elite.steps)
                row = {**asdict(elite), "held_out": held}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
