"""`ontogeny forget`: erases one user from a ledger and a store, and shows that nothing is left."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ontogeny.base.errors import CorruptArtifact, InputError, NoSpace, printable
from ontogeny.base.events import Events, JsonLines
from ontogeny.base.housekeeping import Sweep, erase_for_good, plan_erasure
from ontogeny.base.inventory import Inventory, read_erased, take_inventory
from ontogeny.base.stop import StopRequest
from ontogeny.base.store import Store
from ontogeny.cli.amounts import columns, counted, size_text
from ontogeny.cli.list_command import freed_bytes
from ontogeny.feedback.forgetting import (
    Traces,
    erased_with,
    live_models,
    pages_naming,
    traces,
    users_of,
)
from ontogeny.feedback.ledger import Ledger

DEFAULT_STORE = Path("life")
WHY = "it may hold words of one who is forgotten"


@dataclass(frozen=True)
class Options:
    """See `forget_options`."""

    user: str
    key: str = ""
    models: bool = False
    dry: bool = False
    as_json: bool = False


@dataclass
class Told:
    """What was found, done and found again; printed as it is by --json."""

    pseudonym: str
    dry_run: bool
    exchanges: int = 0
    ratings: int = 0
    forgotten_before: int = 0
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    bytes: int = 0
    models: list[dict[str, Any]] = field(default_factory=list)
    numbers: int = 0
    unreadable: list[str] = field(default_factory=list)
    looked: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)


def forget(path: Path, root: Path | None, options: Options) -> None:
    """Erases, then looks again and says what is left: nothing, or it fails.

    Raises:
        InputError: there is no such ledger or store, one of them is in use, or a model that
            clients hear now learnt from this user and was to go.
        CorruptArtifact: the ledger is damaged, or an artifact is, so that nobody knows what it
            holds.
        NoSpace: the disk fails or is read-only.
    """
    store = _store(root)
    with contextlib.ExitStack() as stack:
        if store is not None and not options.dry:
            stack.enter_context(store.locked())
            stack.enter_context(store.channels_locked())
            stack.enter_context(StopRequest().installed())
        told, live = _done(path, store, options)
    if options.as_json:
        print(json.dumps(asdict(told), indent=1, sort_keys=True))
    else:
        for line in _lines(told, options, path, store):
            print(printable(line))
    _check(told, options, path, store, live)


def _store(root: Path | None) -> Store | None:
    if root is None and not (DEFAULT_STORE / "store.json").exists():
        return None
    return Store.open(root or DEFAULT_STORE)


def _done(path: Path, store: Store | None, options: Options) -> tuple[Told, dict[str, str]]:
    live: dict[str, str] = {}
    with _ledger(path, options) as ledger:
        told = Told(ledger.pseudonym(options.key, options.user), options.dry)
        told.exchanges, told.ratings = ledger.counts(told.pseudonym)
        told.forgotten_before = sum(e.user == told.pseudonym for e in ledger.tombstones())
        if not options.dry:
            ledger.forget(told.pseudonym)
    if store is not None:
        live = live_models(store)
        _erase(store, told, options, live)
    with Ledger.read(path) as again:
        exchanges, ratings = again.counts()
        told.looked |= {"exchanges": exchanges, "ratings": ratings}
        left = again.counts(told.pseudonym)
        told.left |= {"exchanges": left[0], "ratings": left[1]}
    return told, live


@contextlib.contextmanager
def _ledger(path: Path, options: Options) -> Iterator[Ledger]:
    with Ledger.read(path) if options.dry else Ledger.open(path, make=False) as ledger:
        yield ledger


def _erase(store: Store, told: Told, options: Options, live: dict[str, str]) -> None:
    inventory = take_inventory(store)
    read_erased(store)  # an inventory does without; here it says who learnt from what is gone
    found = traces(inventory, told.pseudonym)
    going = erased_with(found, inventory, live) if options.models else set(found.texts)
    sweep = plan_erasure(inventory, going, WHY)
    _note(told, inventory, found, sweep, live)
    if not options.dry and not sweep.empty:
        erase_for_good(store, sweep, {entry.id: users_of(entry) for entry in sweep.entries})
        _log(store, told)
        inventory = take_inventory(store)
        found = traces(inventory, told.pseudonym)
    told.looked |= {"artifacts": len(inventory.entries), "naming_users": found.looked}
    named = found.texts | {path.name for path in pages_naming(store, told.pseudonym)}
    told.left["artifacts"] = len(named)


def _note(
    told: Told, inventory: Inventory, found: Traces, sweep: Sweep, live: dict[str, str]
) -> None:
    going = {entry.id for entry in sweep.entries}
    told.artifacts = [_row(each, inventory) for each in sorted(going)]
    told.unfinished = [work.id for work, _ in sweep.work]
    told.bytes = freed_bytes(sweep)
    told.models = [
        _row(each, inventory) | {"channel": live.get(each, "")}
        for each in sorted(found.models - going)
    ]
    told.numbers = len(found.behind - going)
    told.unreadable = [each.id for each in found.dark]


def _row(id_: str, inventory: Inventory) -> dict[str, Any]:
    entry = inventory.entries[id_]
    record = entry.record
    assert record is not None, id_
    names = inventory.names_of(id_) or [f"once {record.name}"]
    return {"id": id_, "name": ", ".join(names), "kind": record.kind, "bytes": entry.size}


def _lines(told: Told, options: Options, path: Path, store: Store | None) -> list[str]:
    would = "would erase" if told.dry_run else "erased"
    rows = f"{counted(told.exchanges, 'exchange')} and {counted(told.ratings, 'rating')}"
    lines = [f"{would} {rows} of {told.pseudonym} in {path}"]
    if not told.exchanges and not told.ratings and not told.forgotten_before:
        lines.append("  another key's name makes another pseudonym; --key says whose")
    table: list[tuple[str, ...]] = [
        ("  " + each["name"], each["id"], each["kind"], size_text(each["bytes"]))
        for each in told.artifacts
    ]
    if store is not None:
        what = f"{counted(len(told.artifacts), 'artifact')}, {size_text(told.bytes)}"
        lines += [f"{would} {what} in {store.root}", *columns(table, right=(3,))]
    if told.unfinished:
        lines.append(f"{would} {counted(len(told.unfinished), 'unfinished stage')}")
    for each in told.models:
        where = f", live in the channel {each['channel']}" if each["channel"] else ""
        lines.append(f"{each['name']} ({each['id']}) learnt from this user and stays{where}")
    if told.models:
        again = "" if options.models else ", then forget with --models"
        lines.append(f"  harvest again, train again and promote the result{again}")
    return [*lines, _proof(told, store)]


def _proof(told: Told, store: Store | None) -> str:
    looked = told.looked
    parts = [f"{looked['exchanges']:,} exchanges, {looked['ratings']:,} ratings"]
    if store is None:
        parts.append(f"no store ({DEFAULT_STORE} is not there; --store names one)")
    else:
        users = counted(looked["naming_users"], "artifact")
        parts.append(f"{users} of {looked['artifacts']:,} that can name users")
    rows = told.left["exchanges"] + told.left["ratings"] + told.left.get("artifacts", 0)
    again = "" if told.dry_run else "again "
    return f"looked {again}through {', '.join(parts)}: {counted(rows, 'row')} of this user left"


def _check(
    told: Told, options: Options, path: Path, store: Store | None, live: dict[str, str]
) -> None:
    """What is not as it was asked for ends in an error, after everything was said."""
    if told.unreadable:
        reason = "cannot be read, so nobody knows whom it names; delete it"
        where = None if store is None else store.path(told.unreadable[0])
        raise CorruptArtifact(reason, file=where)
    if told.dry_run:
        return
    if any(told.left.values()):
        raise InputError("rows of this user came meanwhile; run the same command again", file=path)
    stays = [each for each in told.models if options.models and each["id"] in live]
    if stays:
        channel, name = stays[0]["channel"], stays[0]["name"]
        reason = f"'{name}' is live in the channel {channel} and was not erased; "
        raise InputError(f"{reason}promote another model there, then run the same command again")


def _log(store: Store, told: Told) -> None:
    """A fact about the store, without the pseudonym; on a full disk the screen has it."""
    with contextlib.suppress(NoSpace):
        events = Events([JsonLines(store.events)])
        ids = [each["id"] for each in told.artifacts]
        events.log("forgotten", artifacts=ids, unfinished=told.unfinished, bytes=told.bytes)
        events.close()
