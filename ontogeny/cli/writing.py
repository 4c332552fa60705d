"""The frame of every command that makes artifacts: lock, signals, events, and the one last line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError, NoSpace, OntogenyError, Stopped
from ontogeny.base.events import Events, JsonLines, Sink
from ontogeny.base.stop import StopRequest
from ontogeny.base.store import Store
from ontogeny.cli.console import Console
from ontogeny.plan.plan import Plan

NO_PLAN = cast(Plan, None)
"""No recipe is played, so nothing asks what may be spent."""


@dataclass(frozen=True)
class Desk:
    """What such a command works with; `dead` is the note of a run that ended without a word."""

    console: Console
    events: Events
    stop: StopRequest
    dead: dict[str, Any] | None


def model_called(store: Store, reference: str) -> Artifact:
    """The model that a person named.

    Raises:
        InputError: nothing is called so, or it is no model.
    """
    artifact = store.resolve(reference)
    if artifact.record.kind != "model":
        raise InputError(
            f"'{reference}' is a {artifact.record.kind}, no model; "
            "`ontogeny show` lists what there is",
            file=store.root,
        )
    return artifact


@contextlib.contextmanager
def writing(store: Store, sinks: Callable[[], Sequence[Sink]] = tuple) -> Iterator[Desk]:
    """Holds the store; what goes wrong inside is logged before it is told.

    Args:
        sinks: opens further receivers of events, once the store is held.

    Raises:
        InputError: another run holds the store.
        OntogenyError: whatever was raised inside.
    """
    stop = StopRequest()
    with store.locked() as dead, stop.installed():
        console = Console()
        events = Events([JsonLines(store.events), console, *sinks()])
        try:
            yield Desk(console, events, stop, dead)
        except OntogenyError as error:
            with contextlib.suppress(NoSpace):  # the first error is the one to tell
                kind = "stopped" if isinstance(error, Stopped) else "failed"
                events.log(kind, message=str(error), exit=error.exit_code)
            raise
        finally:
            events.close()
