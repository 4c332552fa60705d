"""One call `run(stage, parents, name=...)` of a recipe, checked and given its identity."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from ontogeny.base import config as configs
from ontogeny.base.errors import COMMAND_LINE, InputError
from ontogeny.base.identity import artifact_id
from ontogeny.base.store import valid_name
from ontogeny.run.work import Stage


@dataclass(frozen=True)
class Request:
    """A stage with its overrides applied, its parents' ids and its own."""

    name: str
    stage: Stage
    parents: tuple[str, ...]
    seed: int
    id: str

    @property
    def identity(self) -> Any:
        """The part of the config that the id is made from."""
        return identity_of(self.stage)


def identity_of(stage: Stage) -> dict[str, Any]:
    """The config without execution fields, plus what the stage itself says identifies its input.

    A stage that reads from outside the store has a method `identity()`: digests of what it reads.
    """
    outside: dict[str, Any] = getattr(stage, "identity", dict)()
    return {**configs.identity_dict(stage), **outside}


@dataclass(frozen=True)
class Promise:
    """What a traced recipe gets in place of an artifact: a name, a kind, an id, no content."""

    name: str
    kind: str
    id: str

    def holds(self, *_: Any, **__: Any) -> bool:
        """Nothing has been measured, so nothing holds; the trace takes the longest path."""
        return False


@dataclass(frozen=True)
class Setting:
    """One `--set NAME.FIELD=VALUE`; `position` is where it stood on the command line."""

    stage: str
    field: str
    value: str
    position: int

    @classmethod
    def parse(cls, text: str, position: int) -> Setting:
        """Reads `base.peak_lr=3e-3` (a stage name may itself contain slashes).

        Raises:
            InputError: when the form is another.
        """
        target, equals, value = text.partition("=")
        stage, dot, field = target.partition(".")
        if not (equals and dot and stage and field):
            raise InputError(
                f"--set '{text}' is not of the form stage.field=value",
                file=COMMAND_LINE,
                line=position,
            )
        return cls(stage, field, value, position)


def request(
    stage: Stage,
    parents: tuple[tuple[str, str], ...],
    *,
    name: str,
    seed: int,
    settings: list[Setting],
) -> Request:
    """Checks one call of a recipe and applies the settings meant for it.

    Args:
        stage: the config.
        parents: (id, kind) of each parent, in order.
        name: the stage's name in this recipe.
        seed: the run's root seed.
        settings: all `--set` options.

    Raises:
        InputError: for a bad name, wrong parents, or a setting that does not fit.
    """
    if not valid_name(name):
        raise InputError(f"'{name}' is no name; use letters, digits, _ . - and / between parts")
    kinds = tuple(kind for _, kind in parents)
    if not _fit(kinds, stage.takes):
        raise InputError(
            f"{type(stage).__name__} takes ({', '.join(stage.takes)}), "
            f"not ({', '.join(kinds)}); mend the call"
        )
    meant = [each for each in settings if each.stage in (name, plain_name(name))]
    stage = _with_settings(stage, meant)
    ids = [parent for parent, _ in parents]
    made = artifact_id(stage.stage, stage.version, identity_of(stage), ids, seed)
    return Request(name, stage, tuple(ids), seed, made)


def _fit(kinds: tuple[str, ...], takes: tuple[str, ...]) -> bool:
    """Whether the parents' kinds are what a stage takes (see `Stage`)."""
    pattern = ""
    for wanted in takes:
        kind, mark = (wanted[:-1], wanted[-1]) if wanted[-1] in "+*?" else (wanted, "")
        either = "|".join(f"{re.escape(each)};" for each in kind.split("|"))
        pattern += f"(?:{either}){mark}"
    return re.fullmatch(pattern, "".join(f"{kind};" for kind in kinds)) is not None


def plain_name(name: str) -> str:
    """`name` without the seed that `Run.seeded` puts before it."""
    return re.sub(r"^seed-[0-9]+/", "", name)


def _with_settings(stage: Stage, settings: list[Setting]) -> Stage:
    """The stage with its settings applied together, every value checked against its type."""
    try:
        return configs.override(stage, *((s.field, s.value) for s in settings))
    except InputError as error:
        if not settings:
            raise
        named = [s for s in settings if s.field.rpartition(".")[2] in error.reason]
        culprit = (named or settings)[0]
        raise InputError(
            f"--set {culprit.stage}: {error.reason}", file=COMMAND_LINE, line=culprit.position
        ) from None


def unused_setting(settings: list[Setting], names: list[str]) -> InputError | None:
    """The error for the first setting that names no stage of the recipe."""
    for setting in settings:
        if setting.stage not in names:
            near = difflib.get_close_matches(setting.stage, names, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(names)}"
            return InputError(
                f"--set {setting.stage}: the recipe has no such stage; {hint}",
                file=COMMAND_LINE,
                line=setting.position,
            )
    return None
