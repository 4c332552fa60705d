"""What others published of their runs: sizes, tokens, kinds of data and compute, stage by stage.

Knows no run by name: they are data, in published.json beside this file. What is not there was not
published, or we have not found it; nothing is filled in.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from ontogeny.base.config import from_dict
from ontogeny.base.errors import InputError
from ontogeny.base.files import read_json
from ontogeny.plan.architecture import Architecture

FILE = Path(__file__).with_name("published.json")

Standing = Literal["published", "derived", "estimated"]
"""The lab prints it; it follows by arithmetic from what labs print; it rests on an assumption."""

Checked = Literal["read", "transcribed", "memory"]
"""We read it in the lab's own text, in somebody's transcription of it, or nobody looked it up."""

Group = Literal[
    "pretrain",
    "continue_pretrain",
    "extend_context",
    "sft",
    "preference",
    "rl",
    "post_training",
]
"""Part of a life; `post_training` is SFT, preferences and RL where a lab prints one sum."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number, what it counts, and where it stands.

    `source` is a paper or card with its section; of what is derived it says from what, of what is
    estimated on which assumption.
    """

    value: float
    unit: str
    standing: Standing
    source: str
    checked: Checked


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of data, and its share of the tokens where that is published."""

    kind: str
    share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The kinds of data of a stage, and where that stands."""

    kinds: tuple[Kind, ...]
    standing: Standing
    source: str
    checked: Checked


@dataclass(frozen=True, kw_only=True)
class PublishedStage:
    """One stage of a published life; `of` names the run whose stage this was, if another's."""

    group: Group
    name: str
    of: str = ""
    context: int | None = None
    tokens: Figure | None = None
    examples: tuple[Figure, ...] = ()
    data: Mixture | None = None
    compute: tuple[Figure, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class PublishedRun:
    """A published life, its stages in the order of their making.

    `hours_class` says which runs use hardware as this one does; `unfitted` why it is nevertheless
    not among those that the class's utilisation is taken from. `outliers` maps what cannot be
    computed as of other runs (parameters, active_parameters, flops, gpu_hours) to the reason.
    """

    name: str
    lab: str
    year: int
    paper: str
    stages: tuple[PublishedStage, ...]
    note: str = ""
    architecture: Architecture | None = None
    architecture_source: str = ""
    architecture_checked: Checked | None = None
    parameters: Figure | None = None
    active_parameters: Figure | None = None
    hours_class: str | None = None
    unfitted: str = ""
    outliers: Mapping[str, str] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The name as it is typed: lower case, a dash for what is no letter, digit or point."""
        return "".join(c if c.isalnum() or c == "." else "-" for c in self.name.lower())


@dataclass(frozen=True, kw_only=True)
class HoursClass:
    """Runs that use hardware alike: which accelerator, and how well hours can be foretold."""

    about: str
    gpu: str
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class Library:
    """The whole file: the runs, the classes of their hours, and what its words mean."""

    format: int
    standings: Mapping[Standing, str]
    checked: Mapping[Checked, str]
    hours_classes: Mapping[str, HoursClass]
    runs: tuple[PublishedRun, ...]


@cache
def library() -> Library:
    """The published runs.

    Raises:
        CorruptArtifact: the file of the package is damaged.
        InputError: it does not have the form that this module describes.
    """
    return from_dict(Library, read_json(FILE), file=str(FILE))


def find(name: str) -> PublishedRun:
    """The run called `name`; case, points and dashes do not matter.

    Raises:
        InputError: none is; the nearest names are offered.
    """
    runs = library().runs
    wanted = _bare(name)
    for run in runs:
        if _bare(run.name) == wanted:
            return run
    raise InputError(f"--like {name}: no such published run; {_nearest(wanted)}")


def _nearest(wanted: str) -> str:
    """Runs of a lab of this name, else names that contain it, else names spelt alike."""
    runs = library().runs
    of_lab = [run.slug for run in runs if _bare(run.lab) == wanted]
    containing = [run.slug for run in runs if wanted and wanted in _bare(run.name)]
    bare = {_bare(run.name): run.slug for run in runs}
    alike = [bare[each] for each in difflib.get_close_matches(wanted, bare, n=4, cutoff=0.5)]
    near = of_lab or containing or alike
    if not near:
        return "`ontogeny plan --list` shows them all"
    word = "of this lab there are" if of_lab else "near it are"
    more = ", ..." if len(near) > 6 else ""
    return f"{word} {', '.join(near[:6])}{more}; `ontogeny plan --list` shows all"


def _bare(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
