"""`ontogeny promote` and `ontogeny rollback`: who is live in a channel from now on."""

from __future__ import annotations

import json
import time
from pathlib import Path

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, printable
from ontogeny.base.store import Store
from ontogeny.feedback import promotion
from ontogeny.feedback.channel import Channel, find_channel, read_channel
from ontogeny.feedback.decision import KIND as GATE
from ontogeny.feedback.decision import read_gate

FOLLOWS = (
    "servers that follow it load the model beside the old one and switch: new questions go to it, "
    "answers under way end where they began"
)


def promote(reference: str, name: str, root: Path, *, as_json: bool) -> None:
    """Makes the candidate of a gate live, or the first model of a channel; says what follows.

    Raises:
        InputError: there is no such artifact, or no gate lets it.
        CorruptArtifact: a file of the model, the gate or the channel is damaged.
    """
    store = Store.open(root)
    found = store.resolve(reference)
    gate = found if found.record.kind == GATE else None
    model = found if gate is None else store.get(read_gate(gate).candidate)
    before = find_channel(store, name)
    begun = time.monotonic()
    after = promotion.promote(store, name, model, gate)
    why = "without a gate: nothing was live before it"
    if gate is not None:
        why = f"the gate {called(store, gate.id)} lets it"
    _tell(store, before, after, why, time.monotonic() - begun, as_json=as_json)


def roll_back(name: str, root: Path, to: str | None, *, as_json: bool) -> None:
    """Makes the release before the live one live again, or the one that `to` names.

    Raises:
        InputError: there is no such channel or release.
        CorruptArtifact: a file of the model or of the channel is damaged.
    """
    store = Store.open(root)
    before = read_channel(store, name)
    target = None if to is None else store.resolve(to).id
    begun = time.monotonic()
    after = promotion.roll_back(store, name, target)
    why = "rolled back"
    _tell(store, before, after, why, time.monotonic() - begun, as_json=as_json)


def called(store: Store, artifact_id: str) -> str:
    """An artifact's name and id, or why it is told by its id alone."""
    try:
        artifact: Artifact = store.get(artifact_id)
    except CorruptArtifact:
        return f"{artifact_id} (damaged or not in the store)"
    return f"{artifact.name} ({artifact_id})"


def _tell(
    store: Store,
    before: Channel | None,
    after: Channel,
    why: str,
    seconds: float,
    *,
    as_json: bool,
) -> None:
    changed = before is None or len(before.history) != len(after.history)
    if as_json:
        told = {"channel": after.name, "changed": changed, "seconds": round(seconds, 3)}
        print(json.dumps(told | after.row(), indent=1))
        return
    if not changed:
        print(printable(f"{after.name}: {called(store, after.live)} is live already"))
        return
    lines = [f"{after.name}: {called(store, after.live)} is live, {why}"]
    if before is not None:
        lines.append(f"before it: {called(store, before.live)}")
        ended = [
            f"{arm} ended: it is live now"
            for arm, share in (("canary", before.canary), ("shadow", before.shadow))
            if share is not None and share.model == after.live
        ]
        lines += ended
    lines += [f"every byte of it was checked, {seconds:.2f} s in all", FOLLOWS]
    for line in lines:
        print(printable(line))
