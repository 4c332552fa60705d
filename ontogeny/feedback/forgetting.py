"""What a store holds of one user, and what may be erased of it. Asks nobody and erases nothing.

Artifacts of the kinds `HOLDING` name the pseudonyms whose words they hold. What was made from them
holds their words, too, up to a model, which has learnt from them, and up to what is numbers alone.
"""

from __future__ import annotations

import json
import mmap
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from ontogeny.base.files import read_json
from ontogeny.base.inventory import Entry, Inventory
from ontogeny.base.store import Store
from ontogeny.feedback.channel import read_channel
from ontogeny.feedback.exchange import EXCHANGES, RATINGS

HOLDING = ("harvest", "traffic")
PEOPLE = "people.json"
"""Of a harvest: pseudonym -> ids of the rows that hold words or votes of theirs."""
LEARNT = ("model", "reward_model")
NUMBERS = ("comparison", "effect", "gate")


@dataclass(frozen=True)
class Traces:
    """What a store holds of one pseudonym, by id.

    Args:
        sources: artifacts that name it.
        texts: all that holds its words, `sources` among them; no model.
        models: models that learnt from those, directly or from one that did.
        behind: numbers about those, and what was made from such a model.
        looked: artifacts of the kinds that name users.
        dark: artifacts that cannot be read, so that nobody knows.
    """

    sources: frozenset[str]
    texts: frozenset[str]
    models: frozenset[str]
    behind: frozenset[str]
    looked: int
    dark: tuple[Entry, ...]

    @property
    def all(self) -> frozenset[str]:
        """Everything."""
        return self.texts | self.models | self.behind


def traces(inventory: Inventory, pseudonym: str) -> Traces:
    """Looks into every artifact that names users, and follows who was made from which.

    What was erased before still tells who was made from it.
    """
    entries, erased = inventory.entries, inventory.erased
    holding = [e for e in entries.values() if e.record is not None and e.record.kind in HOLDING]
    sources = {each.id for each in holding if _names(each.path, pseudonym)}
    gone = {id_ for id_, each in erased.items() if pseudonym in each.users}
    texts = _made_from(inventory, sources | gone, (*LEARNT, *NUMBERS))
    rest = (_made_from(inventory, texts) - texts) & entries.keys()
    models = {id_ for id_ in rest if _kind(inventory, id_) in LEARNT}
    return Traces(
        sources=frozenset(sources),
        texts=frozenset(texts & entries.keys()),
        models=frozenset(models),
        behind=frozenset(rest - models),
        looked=len(holding),
        dark=tuple(each for each in entries.values() if each.record is None),
    )


def erased_with(found: Traces, inventory: Inventory, live: Collection[str]) -> set[str]:
    """What goes where models go, too: all but what a live model is and what was made from it."""
    kept = _made_from(inventory, live)
    return set(found.texts | ((found.models | found.behind) - kept))


def users_of(entry: Entry) -> set[str]:
    """All pseudonyms that an artifact of the kinds `HOLDING` names, and none of another.

    Raises:
        CorruptArtifact: its files are not what was written.
    """
    if entry.record is None or entry.record.kind not in HOLDING:
        return set()
    people = entry.path / PEOPLE
    found = set(read_json(people)) if people.exists() else set()
    for name in (EXCHANGES, RATINGS):
        path = entry.path / name
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found |= {str(json.loads(line).get("user", "")) for line in lines}
    return found


def live_models(store: Store) -> dict[str, str]:
    """Id of each model that some channel's clients may hear -> the channel.

    Raises:
        CorruptArtifact: a channel cannot be read.
    """
    found: dict[str, str] = {}
    for path in sorted(store.channels.glob("*.json")):
        for model in read_channel(store, path.stem).models:
            found.setdefault(model, path.stem)
    return found


def pages_naming(store: Store, pseudonym: str) -> list[Path]:
    """Files beside the artifacts that name a pseudonym; we write none."""
    places = (store.names, store.plans, store.channels, store.root / "reports")
    paths = [path for place in places if place.is_dir() for path in sorted(place.rglob("*"))]
    paths += [store.events] if store.events.exists() else []
    return [path for path in paths if path.is_file() and _holds(path, pseudonym)]


def _made_from(inventory: Inventory, roots: Iterable[str], stops: Collection[str] = ()) -> set[str]:
    """`roots` and all that was made from them, but nothing of the kinds `stops` or behind it."""
    made = {id_: each.parents for id_, each in inventory.erased.items()}
    records = [each.record for each in inventory.entries.values() if each.record is not None]
    made |= {record.id: record.parents for record in records}
    children: defaultdict[str, list[str]] = defaultdict(list)
    for id_, parents in made.items():
        for parent in parents:
            children[parent].append(id_)
    found, waiting = set(roots), list(roots)
    while waiting:
        for id_ in children[waiting.pop()]:
            if id_ not in found and _kind(inventory, id_) not in stops:
                found.add(id_)
                waiting.append(id_)
    return found


def _kind(inventory: Inventory, id_: str) -> str:
    entry = inventory.entries.get(id_)
    if entry is None:
        return inventory.erased[id_].kind
    return "" if entry.record is None else entry.record.kind


def _names(artifact: Path, pseudonym: str) -> bool:
    paths = (path for path in sorted(artifact.rglob("*")) if path.is_file())
    return any(_holds(path, pseudonym) for path in paths)


def _holds(path: Path, text: str) -> bool:
    with path.open("rb") as file:
        if not path.stat().st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(text.encode()) >= 0
