"""`ontogeny channel`: who is live and was before; who is tried beside it, for which share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ontogeny.base.errors import InputError, printable
from ontogeny.base.store import Store
from ontogeny.cli.amounts import columns
from ontogeny.cli.arguments import at
from ontogeny.cli.promote_command import called
from ontogeny.feedback import promotion
from ontogeny.feedback.channel import Beside, Channel, read_channel


@dataclass(frozen=True)
class Trial:
    """What is changed beside the live model; nothing of it: the channel is shown."""

    canary: str | None = None
    shadow: str | None = None
    share: float | None = None
    end: Beside | None = None

    def __post_init__(self) -> None:
        wanted = [self.canary is not None, self.shadow is not None, self.end is not None]
        if sum(wanted) > 1:
            raise at("--end", "give one of --canary, --shadow and --end at a time")
        begins = self.canary is not None or self.shadow is not None
        if begins != (self.share is not None):
            raise at("--share", "give --canary MODEL or --shadow MODEL together with --share")

    @property
    def arm(self) -> Beside:
        """Who is tried."""
        return "shadow" if self.shadow is not None else "canary"


def channel(name: str, root: Path, trial: Trial, *, as_json: bool) -> None:
    """Changes what is to be changed, then prints the channel.

    Raises:
        InputError: there is no such channel or model, or it cannot stand there.
        CorruptArtifact: a file of the model or of the channel is damaged.
    """
    store = Store.open(root)
    model = trial.shadow if trial.canary is None else trial.canary
    if trial.end is not None:
        found = promotion.end_share(store, name, trial.end)
    elif model is not None and trial.share is not None:
        try:
            artifact = store.resolve(model)
            found = promotion.set_share(store, name, trial.arm, artifact, trial.share)
        except InputError as error:
            raise error if error.file is not None else at("--share", error.reason) from None
    else:
        found = read_channel(store, name)
    if as_json:
        print(json.dumps({"channel": found.name} | found.row(), indent=1))
        return
    for line in _lines(store, found):
        print(printable(line))


def _lines(store: Store, found: Channel) -> list[str]:
    lines = [f"{found.name}: {called(store, found.live)} is live"]
    if found.canary is not None:
        who = called(store, found.canary.model)
        lines.append(f"canary: {who} answers {found.canary.share:.1%} of those who ask")
    if found.shadow is not None:
        who = called(store, found.shadow.model)
        lines.append(f"shadow: {who} is asked what {found.shadow.share:.1%} ask; nobody hears it")
    below = found.standing[:-1]
    leads = called(store, below[-1].live) if below else "nothing: there is none before"
    lines += [f"a rollback leads to {leads}", "history"]
    rows: list[tuple[str, ...]] = [
        (
            f"  {each.at}",
            each.why,
            called(store, each.live),
            "" if each.gate is None else f"by {called(store, each.gate)}",
        )
        for each in found.history
    ]
    return [*lines, *columns(rows)]
