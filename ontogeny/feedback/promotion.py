"""What changes a channel: a model is promoted, taken back, or tried beside the live one.

Each change is one rename under the lock of the channels, so a kill at any moment leaves the old
words or the new ones. Every byte of a model is compared with its sha256 before anybody hears it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.files import require_directory, write_json
from ontogeny.base.store import Store
from ontogeny.feedback.channel import (
    BESIDE,
    Beside,
    Channel,
    Release,
    Share,
    channel_file,
    find_channel,
    read_channel,
)
from ontogeny.feedback.decision import FILE as GATE_FILE
from ontogeny.feedback.decision import Decision, read_gate

WAIT_SECONDS = 10.0
"""For another change, which takes milliseconds, or for the end of a clean."""


@contextmanager
def _changing(store: Store) -> Iterator[None]:
    """Nobody else writes a channel or deletes an artifact; what a killed writer left is gone."""
    require_directory(store.channels)
    with store.channels_locked(WAIT_SECONDS):
        for temporary in store.channels.glob(".*.tmp"):
            temporary.unlink()
        yield


def _write(store: Store, channel: Channel) -> Channel:
    write_json(channel_file(store, channel.name), channel.row())
    return channel


def promote(store: Store, name: str, model: Artifact, gate: Artifact | None) -> Channel:
    """Makes `model` live; every byte of it is checked first.

    Its own entry as a canary or shadow ends. Where it is live already nothing changes.

    Args:
        gate: lets it; None for the first model of a channel, which nothing stands before.

    Raises:
        InputError: it is no model, or no gate lets it take the place of what is live now.
        CorruptArtifact: a file of the model, the gate or the channel is damaged.
    """
    decision = None if gate is None else read_gate(gate)
    _check_gate(find_channel(store, name), name, model, gate, decision)
    whole(store, model)
    if gate is not None:
        whole(store, gate)
    with _changing(store):
        channel = find_channel(store, name)
        _check_gate(channel, name, model, gate, decision)
        store.get(model.id)  # nobody has deleted it meanwhile, and now nobody does
        if channel is None:
            first = Release(model.id, None, "first", _now())
            return _write(store, Channel(name, (first,)))
        if channel.live == model.id:
            return channel
        assert gate is not None
        store.get(gate.id)  # a channel that names what is gone would keep `clean` from its work
        release = Release(model.id, gate.id, "promote", _now())
        return _write(store, _live(channel, release))


def _check_gate(
    channel: Channel | None,
    name: str,
    model: Artifact,
    gate: Artifact | None,
    decision: Decision | None,
) -> None:
    """Whether `model` may take the place of what is live now.

    Raises:
        InputError: it may not.
    """
    if model.record.kind != "model":
        raise InputError(f"'{model.name}' is a {model.record.kind} and no model", file=model.path)
    if channel is not None and channel.live == model.id:
        return
    if gate is None or decision is None:
        if channel is None:
            return
        raise InputError(
            f"in '{name}' {channel.live} is live, and only a gate says what may follow it; compare "
            f"{model.id} with it by the stage gate and promote what that makes",
            file=model.path,
        )
    file = gate.path / GATE_FILE
    if decision.candidate != model.id:
        raise InputError(f"the gate is about {decision.candidate}, not {model.id}", file=file)
    if not decision.promote:
        reasons = "; ".join(decision.reasons)
        raise InputError(f"the gate says {decision.word}: {reasons}", file=file)
    if channel is None:
        raise InputError(
            f"nothing is live in '{name}' that the gate could have compared with; promote "
            f"{decision.released}, then this gate, or {model.id} as the first",
            file=file,
        )
    if decision.released != channel.live:
        raise InputError(
            f"the gate compared with another model ({decision.released}; {channel.live} is live "
            f"in '{name}'); run it again",
            file=file,
        )


def roll_back(store: Store, name: str, to: str | None = None) -> Channel:
    """Makes the release before the live one live again (`Channel.standing`), its bytes checked.

    Args:
        to: id of the release to go back to, further down perhaps; where it is live nothing
            changes, so that the same words may be said twice.

    Raises:
        InputError: nothing was live before, or `to` was not.
        CorruptArtifact: a file of the model or of the channel is damaged.
    """
    target = _before(store, read_channel(store, name), to)
    if target is not None:
        whole(store, _kept(store, target))
    with _changing(store):
        channel = read_channel(store, name)
        if _before(store, channel, to) != target:
            raise InputError(
                "somebody has changed it meanwhile; look at it and try again",
                file=channel_file(store, name),
            )
        if target is None:
            return channel
        _kept(store, target)
        return _write(store, _live(channel, Release(target, None, "rollback", _now())))


def _before(store: Store, channel: Channel, to: str | None) -> str | None:
    """Id of the release that a rollback leads to; None: it is live."""
    if to == channel.live:
        return None
    below = [each.live for each in channel.standing[:-1]]
    if to is None and below:
        return below[-1]
    if to is None or to not in below:
        past = ", ".join(reversed(below)) or "nothing"
        what = "there is no release before the live one" if to is None else f"{to} is none before"
        remedy = "give one of these" if below else "promote another by a gate"
        raise InputError(
            f"{what} in '{channel.name}' (before {channel.live}: {past}); {remedy}",
            file=channel_file(store, channel.name),
        )
    return to


def set_share(store: Store, name: str, arm: Beside, model: Artifact, share: float) -> Channel:
    """Tries a model beside the live one from now on, its bytes checked; replaces who was there.

    Raises:
        InputError: there is no such channel, it is no model, or the one that is live.
        CorruptArtifact: a file of the model or of the channel is damaged.
    """
    tried = Share(model.id, share)
    if model.record.kind != "model":
        raise InputError(f"'{model.name}' is a {model.record.kind} and no model", file=model.path)
    read_channel(store, name)
    whole(store, model)
    with _changing(store):
        channel = read_channel(store, name)
        store.get(model.id)
        if model.id == channel.live:
            raise InputError(
                f"'{model.name}' is live in '{name}'; try another beside it",
                file=channel_file(store, name),
            )
        return _write(store, _beside(channel, arm, tried))


def end_share(store: Store, name: str, arm: Beside) -> Channel:
    """Nobody is tried there any more; where nobody was nothing changes.

    Raises:
        InputError: there is no such channel.
        CorruptArtifact: the file of the channel is damaged.
    """
    read_channel(store, name)
    with _changing(store):
        channel = read_channel(store, name)
        if channel.beside(arm) is None:
            return channel
        return _write(store, _beside(channel, arm, None))


def whole(store: Store, artifact: Artifact) -> None:
    """Reads every file of it again and compares its sha256.

    Raises:
        CorruptArtifact: naming the first that is damaged.
    """
    store.get(artifact.id).verify()


def _kept(store: Store, artifact_id: str) -> Artifact:
    if not store.has(artifact_id):
        raise InputError(
            f"the artifact {artifact_id} is not in the store any more; promote another",
            file=store.artifacts,
        )
    return store.get(artifact_id)


def _live(channel: Channel, release: Release) -> Channel:
    """With one more release; whoever is live is not tried beside itself."""
    found = replace(channel, history=(*channel.history, release))
    for arm in BESIDE:
        share = found.beside(arm)
        if share is not None and share.model == release.live:
            found = _beside(found, arm, None)
    return found


def _beside(channel: Channel, arm: Beside, share: Share | None) -> Channel:
    if arm == "canary":
        return replace(channel, canary=share)
    return replace(channel, shadow=share)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
