"""What may be deleted from a store, and deleting it. Knows no stage and asks nobody.

Kept is what a name means, what a channel makes or lately made live, what a killed run would go on
from, and all that any of them was made from.
Where that cannot be known for certain, no artifact goes.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from ontogeny.base.files import disk_errors, sync_directory, write_json
from ontogeny.base.inventory import (
    ERASED,
    GIVEN_UP,
    Entry,
    Erased,
    Inventory,
    Unfinished,
    read_erased,
)
from ontogeny.base.store import GONE, Store, erase


@dataclass(frozen=True)
class Sweep:
    """What goes and what stays.

    Args:
        names: names that are given up, the artifacts they meant not counted.
        entries: artifacts that go, each before what it was made from.
        work: unfinished work that goes, with the reason.
        leftovers: files never renamed, and what a killed clean had already given up.
        kept_for: id of every artifact that stays -> the name that stands on it.
        kept_work: unfinished work that stays, with the reason.
        gaps: why nobody knows all that the names stand on; while there are any, `entries` is
            empty and `uncertain` holds what would go without them.
        uncertain: see `gaps`.
    """

    names: list[str]
    entries: list[Entry]
    work: list[tuple[Unfinished, str]]
    leftovers: list[Path]
    kept_for: dict[str, str]
    kept_work: list[tuple[Unfinished, str]]
    gaps: list[str]
    uncertain: list[Entry]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to delete."""
        return not (self.names or self.entries or self.work or self.leftovers)


def meant_by(wanted: str, inventory: Inventory) -> set[str]:
    """The names that `wanted` stands for: itself and all below `wanted/`, unfinished work's too."""
    stem = wanted.rstrip("/")
    known = {*inventory.names, *inventory.unreadable, *inventory.given_up}
    known |= {work.name for work in inventory.unfinished if work.name is not None}
    return {name for name in known if name == stem or name.startswith(f"{stem}/")}


def plan_sweep(inventory: Inventory, drop: Iterable[str] = ()) -> Sweep:
    """What goes when the names in `drop` are given up; a pure function of the inventory."""
    dropped = set(drop)
    names = {name: meant for name, meant in inventory.names.items() if name not in dropped}
    judged = [(work, _why_gone(work, inventory, dropped)) for work in inventory.unfinished]
    kept_work = [(work, _why_kept(work)) for work, reason in judged if reason is None]
    roots = [(meant, name) for name, meant in sorted(names.items())]
    roots += [
        (parent, f"the unfinished {work.name}") for work, _ in kept_work for parent in work.parents
    ]
    for channel, needed in inventory.channels.items():
        roots += [(meant, f"the channel {channel}") for meant in needed or ()]
    kept_for, gaps = _reached(inventory, roots)
    gaps += [
        f"the file of the channel '{channel}' cannot be read"
        for channel, needed in inventory.channels.items()
        if needed is None
    ]
    gaps += [
        f"the file of the name '{name}' cannot be read"
        for name in inventory.unreadable
        if name not in dropped
    ]
    rest = [entry for entry in inventory.entries.values() if entry.id not in kept_for]
    rest = _children_first(rest)
    return Sweep(
        names=sorted(dropped & {*inventory.names, *inventory.unreadable}),
        entries=[] if gaps else rest,
        work=[(work, reason) for work, reason in judged if reason is not None],
        leftovers=inventory.leftovers,
        kept_for=kept_for,
        kept_work=kept_work,
        gaps=gaps,
        uncertain=rest if gaps else [],
    )


def plan_erasure(inventory: Inventory, ids: Collection[str], why: str) -> Sweep:
    """Exactly these artifacts, all names of theirs, and unfinished work that stands on one.

    Work without a checkpoint goes in any case: nobody knows what a killed stage had written, and a
    run begins it again.
    """
    work = [
        each
        for each in inventory.unfinished
        if not each.resumable or not set(ids).isdisjoint(each.parents)
    ]
    return Sweep(
        names=sorted(name for name, meant in inventory.names.items() if meant in ids),
        entries=_children_first([inventory.entries[each] for each in sorted(ids)]),
        work=[(each, why) for each in work],
        leftovers=inventory.leftovers,
        kept_for={},
        kept_work=[],
        gaps=[],
        uncertain=[],
    )


def erase_for_good(store: Store, sweep: Sweep, users: Mapping[str, Collection[str]]) -> None:
    """Deletes, and keeps in `ERASED` what each artifact was made from and whom it named.

    So nobody takes what is missing for damage. The caller holds both locks.

    Args:
        users: id -> pseudonyms.

    Raises:
        NoSpace: the disk fails or is read-only.
    """
    known = read_erased(store)
    for entry in sweep.entries:
        if entry.record is not None:
            named = sorted(users.get(entry.id, ()))
            known[entry.id] = Erased(entry.record.kind, entry.record.parents, named)
    write_json(store.root / ERASED, {id_: asdict(each) for id_, each in known.items()})
    carry_out(store, sweep)


def carry_out(store: Store, sweep: Sweep) -> None:
    """Deletes; a kill at any moment leaves a store in which every artifact is whole or absent.

    Work, then names, then artifacts are renamed out of their places, children before parents;
    only then is any byte deleted. The caller holds the locks of the store and of its channels.

    Raises:
        NoSpace: the disk fails or is read-only.
    """
    moved: list[Path] = []
    with disk_errors(store.root):
        for work, _ in sweep.work:
            moved.append(_move(work.path, store.work / f"{work.id}.work{GONE}"))
        for name in sweep.names:
            path = store.names / f"{name}.json"
            _move(path, store.work / f"{quote(name, safe='')}{GIVEN_UP}")
            sync_directory(path.parent)
        sync_directory(store.work)
        for entry in sweep.entries:
            moved.append(_move(entry.path, store.work / f"{entry.id}{GONE}"))
        sync_directory(store.artifacts)
        sync_directory(store.work)
        for path in (*moved, *sweep.leftovers):
            erase(path)
        for name in sweep.names:  # last: until here the same command may be given again
            erase(store.work / f"{quote(name, safe='')}{GIVEN_UP}")
        _remove_empty_below(store.names)


def _why_gone(work: Unfinished, inventory: Inventory, dropped: set[str]) -> str | None:
    """Why unfinished work is of no use any more; None: it may be."""
    if work.id in inventory.entries:
        return "its artifact is published"
    if not work.resumable:
        return "it has no checkpoint, a run would begin again"
    assert work.name is not None, work
    if work.name in dropped:
        return "its name is given up"
    meant = inventory.names.get(work.name)
    newer = inventory.entries.get(meant) if meant is not None else None
    if newer is None or newer.error is not None or newer.finished is None:
        return None
    if newer.finished <= work.touched:
        return None
    return f"{work.name} means {newer.id} by now, which was made later"


def _why_kept(work: Unfinished) -> str:
    return f"a run goes on from its checkpoint; `--drop {work.name}` gives it up"


def _reached(
    inventory: Inventory, roots: list[tuple[str, str]]
) -> tuple[dict[str, str], list[str]]:
    """Every id that the roots (id, name) stand on, with the first name; and where we lost track."""
    kept_for: dict[str, str] = {}
    gaps: list[str] = []
    waiting = list(reversed(roots))
    while waiting:
        identity, name = waiting.pop()
        if identity in kept_for:
            continue
        kept_for[identity] = name
        entry = inventory.entries.get(identity)
        if entry is None and identity in inventory.erased:
            waiting += [(parent, name) for parent in inventory.erased[identity].parents]
        elif entry is None:
            gaps.append(f"{identity}, which {name} stands on, is not in the store")
        elif entry.record is None:
            gaps.append(f"the record of {identity}, which {name} stands on, cannot be read")
        else:
            waiting += [(parent, name) for parent in entry.record.parents]
    return kept_for, gaps


def _children_first(entries: list[Entry]) -> list[Entry]:
    """`entries` in an order in which each stands before what it was made from."""
    known = {entry.id: entry for entry in entries}
    parents_first: list[Entry] = []
    seen: set[str] = set()
    waiting = [(entry, False) for entry in reversed(entries)]
    while waiting:
        entry, ready = waiting.pop()
        if ready:
            parents_first.append(entry)
            continue
        if entry.id in seen:
            continue
        seen.add(entry.id)
        waiting.append((entry, True))
        parents = entry.record.parents if entry.record is not None else []
        waiting += [(known[each], False) for each in parents if each in known]
    return parents_first[::-1]


def _move(path: Path, target: Path) -> Path:
    if os.path.lexists(target):
        erase(target)  # a killed clean gave up something of the same id before
    os.rename(path, target)
    return target


def _remove_empty_below(root: Path) -> None:
    for parent, _, _ in os.walk(root, topdown=False):
        if Path(parent) != root and not os.listdir(parent):
            os.rmdir(parent)
