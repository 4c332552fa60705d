"""Traffic told: by arm and model what users said and what was answered, canary beside live, drift.

Knows no file and no clock. Every person counts once, by the mean of what is theirs, so nobody
moves a number alone; a shadow is compared exchange by exchange with what it repeats. Exchanges may
come page by page: of each a few numbers are kept, and nothing of what was said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ontogeny.base.errors import InputError
from ontogeny.evaluate.alarm import FIRST, RUN_LENGTH, Alarm, Alarmed
from ontogeny.evaluate.bounds import apart, change_of, level_of
from ontogeny.evaluate.intervals import Interval
from ontogeny.evaluate.series import Series
from ontogeny.feedback.exchange import Arm, Exchange, Rating
from ontogeny.serve.signals import SIGNALS, World, observed, scored


@dataclass(frozen=True, kw_only=True)
class Looking:
    """How traffic is looked at.

    Attributes:
        share: of exchanges whose answers are judged by rules.
        world: whose rules.
        first: observations of a live model that are its reference.
        run_length: see `evaluate.alarm.Alarm`.

    Raises:
        InputError: a share or a number out of its range.
    """

    share: float = 1.0
    world: World = "plain"
    first: int = FIRST
    run_length: float = RUN_LENGTH

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError(f"a share of {self.share:g} is judged; give 0 to 1")
        self.alarm()

    def alarm(self) -> Alarm:
        """A new one, for a model that has become live."""
        return Alarm(SIGNALS, first=self.first, run_length=self.run_length)


@dataclass(slots=True)
class _Mean:
    """Of what one person showed of one signal."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        self.total, self.count = self.total + value, self.count + 1

    @property
    def value(self) -> float:
        return self.total / self.count


People = defaultdict[str, _Mean]


def _people() -> People:
    return defaultdict(_Mean)


@dataclass
class Group:
    """What one model did in one arm.

    Attributes:
        levels: of each signal, people as the units.
    """

    arm: Arm
    model: str
    exchanges: int = 0
    people: set[str] = field(default_factory=set)
    ratings: int = 0
    tokens: int = 0
    seen: dict[str, People] = field(default_factory=lambda: {name: _people() for name in SIGNALS})
    levels: dict[str, Interval] = field(default_factory=dict)

    def means(self, signal: str) -> Series:
        """Each person's mean of a signal."""
        return _series(self.seen[signal])


@dataclass(frozen=True)
class Beside:
    """A canary's or a shadow's signal less the live model's: `change`, from -1 to 1."""

    arm: Arm
    model: str
    live: str
    signal: str
    change: Interval


@dataclass
class Traffic:
    """What a stretch of traffic showed.

    Attributes:
        groups: by arm and model, in the order in which they came.
        beside: comparisons with the live model that stood at the end.
        live: the model that was live last; "" where none was.
        watched: the alarm of each model that was live, in order.
    """

    groups: list[Group]
    beside: list[Beside]
    live: str
    watched: dict[str, Alarm]

    @property
    def alarms(self) -> list[tuple[str, Alarmed]]:
        """Those that stand, with their model: the one that was live last."""
        return [each for each in self._all() if each[0] == self.live]

    @property
    def past(self) -> list[tuple[str, Alarmed]]:
        """Those of models that are no longer live."""
        return [each for each in self._all() if each[0] != self.live]

    def _all(self) -> Iterator[tuple[str, Alarmed]]:
        for model, alarm in self.watched.items():
            yield from ((model, each) for each in alarm.alarms.values())


def traffic(
    exchanges: Sequence[Exchange], ratings: Sequence[Rating], looking: Looking, since: float = 0.0
) -> Traffic:
    """`traffic_of` one page."""
    return traffic_of([(exchanges, ratings)], looking, since)


def traffic_of(
    pages: Iterable[tuple[Sequence[Exchange], Sequence[Rating]]],
    looking: Looking,
    since: float = 0.0,
) -> Traffic:
    """Everything, in the order of the ledger: no rating before the page of what it is about.

    Args:
        since: seconds since 1970; groups and comparisons leave out what is older, drift does not,
            since a reference is a model's beginning.

    Raises:
        InputError: an exchange stands there twice.
    """
    found = _Look(looking, since)
    for exchanges, ratings in pages:
        for exchange in exchanges:
            found.exchange(exchange)
        for rating in ratings:
            found.rating(rating)
    return found.told()


class _Known(NamedTuple):
    """What is kept of an exchange."""

    arm: Arm
    model: str
    group: Group | None
    shown: Mapping[str, float]


class _Look:
    """One look at traffic while it comes."""

    def __init__(self, looking: Looking, since: float) -> None:
        self._looking, self._since = looking, since
        self._known: dict[str, _Known] = {}
        self._groups: dict[tuple[Arm, str], Group] = {}
        # one user's score of one answer: the last one, and the group that it counts in
        self._scores: dict[tuple[str, str, int], tuple[float, Group | None]] = {}
        # by shadow, live model and signal: what was repeated, and the repetition
        self._pairs: defaultdict[tuple[str, str, str], tuple[People, People]] = defaultdict(
            lambda: (_people(), _people())
        )
        self._live = {"since": "", "ever": ""}
        self._watched: dict[str, Alarm] = {}

    def exchange(self, each: Exchange) -> None:
        """One more."""
        if each.id in self._known:
            raise InputError("an exchange stands there twice; read each row of the ledger once")
        shown = observed(each, self._looking.share, self._looking.world)
        group = self._counted(each, shown) if each.at >= self._since else None
        self._known[each.id] = _Known(each.arm, each.model, group, shown)
        if each.arm == "live":
            self._live["ever"] = each.model
            if each.model not in self._watched:
                self._watched[each.model] = self._looking.alarm()
            for name, value in shown.items():
                self._watched[each.model].see(name, value, each.user)

    def _counted(self, each: Exchange, shown: Mapping[str, float]) -> Group:
        key = (each.arm, each.model)
        if key not in self._groups:
            self._groups[key] = Group(*key)
        group = self._groups[key]
        group.exchanges += 1
        group.people.add(each.user)
        group.tokens += sum(answer.tokens for answer in each.answers)
        for name, value in shown.items():
            group.seen[name][each.user].add(value)
        if each.arm == "live":
            self._live["since"] = each.model
        elif each.arm == "shadow" and each.of in self._known:
            repeated = self._known[each.of]
            for name in repeated.shown.keys() & shown.keys():
                before, after = self._pairs[each.model, repeated.model, name]
                before[each.user].add(repeated.shown[name])
                after[each.user].add(shown[name])
        return group

    def rating(self, each: Rating) -> None:
        """One more; of one user's scores of one answer drift counts the first, levels the last."""
        about = self._known.get(each.exchange)
        if about is None:
            return
        group = about.group if each.at >= self._since else None
        if group is not None:
            group.ratings += 1
        for name, value in scored(each).items():
            key = (each.user, each.exchange, each.choice)
            if about.arm == "live" and key not in self._scores:
                self._watched[about.model].see(name, value, each.user)
            self._scores[key] = value, group

    def told(self) -> Traffic:
        """All of it."""
        for (user, _, _), (value, group) in self._scores.items():
            if group is not None:
                group.seen["score"][user].add(value)
        for group in self._groups.values():
            for name in SIGNALS:
                if group.seen[name]:
                    group.levels[name] = level_of(group.means(name), 1.0, name)
        groups = list(self._groups.values())
        return Traffic(groups, self._beside(), self._live["ever"], self._watched)

    def _beside(self) -> list[Beside]:
        """Every canary and shadow beside the model that was live last, where both showed it."""
        now = self._live["since"]
        found = []
        for arm, model in self._groups:
            for name in SIGNALS if now and arm != "live" else ():
                change = self._change(arm, model, now, name)
                if change is not None:
                    found.append(Beside(arm, model, now, name, change))
        return found

    def _change(self, arm: Arm, model: str, live: str, name: str) -> Interval | None:
        """People are the units; of a shadow in pairs, and only where it repeated this live one."""
        if arm == "shadow":
            before, after = map(_series, self._pairs.get((model, live, name), ({}, {})))
            return change_of(before, after, 1.0, name) if before.units else None
        before, after = self._groups["live", live].means(name), self._groups[arm, model].means(name)
        return apart(before, after, 1.0) if before.units and after.units else None


def _series(people: Mapping[str, _Mean]) -> Series:
    return Series(list(people), [each.value for each in people.values()], [1.0] * len(people))
