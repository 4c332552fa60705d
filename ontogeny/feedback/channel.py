"""A channel: which model its clients hear, which ones did before, and what is tried beside it.

STORE/channels/NAME.json is the whole of it, written in one rename: a reader finds the old words or
the new ones. `promotion` changes it, a server follows it (`serve.following`); nothing else makes a
model live. Knows no server and no gate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.files import read_json
from ontogeny.base.inventory import ID
from ontogeny.base.store import Store, valid_name

DEFAULT = "released"
Why = Literal["first", "promote", "rollback"]
Beside = Literal["canary", "shadow"]
BESIDE: tuple[Beside, ...] = ("canary", "shadow")


@dataclass(frozen=True)
class Release:
    """One change of who is live.

    Args:
        live: id of the model that clients hear from then on.
        gate: id of the artifact that let it; None for the first one and after a rollback.
        at: when, in UTC (ISO 8601).
    """

    live: str
    gate: str | None
    why: Why
    at: str

    def __post_init__(self) -> None:
        fits = [ID.fullmatch(each) for each in (self.live, self.gate) if each is not None]
        if not all(fits) or self.why not in ("first", "promote", "rollback"):
            raise ValueError(f"'{self.why}' of {self.live} by {self.gate} is no release")


@dataclass(frozen=True)
class Share:
    """A model that is tried beside the live one, for a share of those who ask."""

    model: str
    share: float

    def __post_init__(self) -> None:
        if isinstance(self.share, bool) or not 0 < self.share <= 1:
            raise InputError(f"the share is {self.share:g}; give a number above 0, at most 1")
        if not ID.fullmatch(self.model):
            raise ValueError(f"'{self.model}' is no id")


@dataclass(frozen=True)
class Channel:
    """What a channel's file says.

    Args:
        history: every change, oldest first; never empty.
        canary: answers its share of those who ask.
        shadow: is asked what its share of them asked, and nobody hears it.
    """

    name: str
    history: tuple[Release, ...]
    canary: Share | None = None
    shadow: Share | None = None

    def __post_init__(self) -> None:
        if not self.history or self.standing[-1].live != self.live:
            raise ValueError("its history does not lead to the live model")

    @property
    def live(self) -> str:
        """Id of the model that clients hear."""
        return self.history[-1].live

    @property
    def standing(self) -> tuple[Release, ...]:
        """The releases that were not taken back, the live one last: where a rollback leads.

        A rollback takes the topmost off, so a second one goes further back and never to a release
        that somebody has fled from.
        """
        stack: list[Release] = []
        for each in self.history:
            if each.why != "rollback":
                stack.append(each)
                continue
            while stack := stack[:-1]:
                if stack[-1].live == each.live:
                    break
            else:
                raise ValueError(f"{each.live} was rolled back to and not live before")
        return tuple(stack)

    @property
    def models(self) -> tuple[str, ...]:
        """Ids of all models that a server of this channel needs, the live one first."""
        tried = [each.model for each in map(self.beside, BESIDE) if each is not None]
        return tuple(dict.fromkeys([self.live, *tried]))

    def row(self) -> dict[str, Any]:
        """As JSON data."""
        found: dict[str, Any] = {"live": self.live}
        found["history"] = [asdict(each) for each in self.history]
        for arm in BESIDE:
            share = self.beside(arm)
            found[arm] = None if share is None else asdict(share)
        return found

    def beside(self, arm: Beside) -> Share | None:
        """Who is tried there."""
        return self.canary if arm == "canary" else self.shadow


def channel_file(store: Store, name: str) -> Path:
    """Where the channel lies, or will lie.

    Raises:
        InputError: nothing can have this name.
    """
    if not valid_name(name) or "/" in name:
        raise InputError(f"no channel can be called '{name}'; use letters, digits, '_', '.', '-'")
    return store.channels / f"{name}.json"


def read_channel(store: Store, name: str) -> Channel:
    """What the channel's file says.

    Raises:
        InputError: there is no such channel.
        CorruptArtifact: the file is not what `promote` wrote.
    """
    found = find_channel(store, name)
    if found is None:
        known = ", ".join(sorted(each.stem for each in store.channels.glob("*.json"))) or "none yet"
        raise InputError(
            f"no channel is called '{name}' ({known}); "
            f"`ontogeny promote MODEL --channel {name}` begins it",
            file=store.root,
        )
    return found


def find_channel(store: Store, name: str) -> Channel | None:
    """What the channel's file says; None: there is none.

    Raises:
        InputError: nothing can have this name.
        CorruptArtifact: the file is not what `promote` wrote.
    """
    path = channel_file(store, name)
    if not path.exists():
        return None
    remedy = "put it back as it was, or delete it and promote its model again"
    try:
        told = read_json(path)
        return _channel(name, told)
    except CorruptArtifact as error:
        reason = f"a channel that cannot be read; {remedy}"
        raise CorruptArtifact(reason, file=path, line=error.line) from None
    except (AttributeError, KeyError, TypeError, ValueError, InputError) as error:
        reason = getattr(error, "reason", str(error))
        raise CorruptArtifact(f"no channel ({reason}); {remedy}", file=path) from None


def _channel(name: str, told: Mapping[str, Any]) -> Channel:
    if told.keys() != {"live", "history", *BESIDE}:
        raise ValueError("its fields are others")
    shares = {arm: Share(**told[arm]) for arm in BESIDE if told[arm] is not None}
    history = tuple(Release(**each) for each in told["history"])
    found = Channel(name, history, shares.get("canary"), shares.get("shadow"))
    if found.live != told["live"]:
        raise ValueError("its history does not lead to the live model")
    return found
