"""A fleet kept in step with its channel's file: models are loaded aside, then stand, then end.

Knows no HTTP; how a model is loaded is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ontogeny.base.errors import OntogenyError
from ontogeny.base.store import Store
from ontogeny.feedback.channel import BESIDE, Beside, Channel, channel_file, read_channel
from ontogeny.serve.aside import Aside, Streams
from ontogeny.serve.fleet import Fleet, Lineup
from ontogeny.serve.meters import Log
from ontogeny.serve.refusal import shortened
from ontogeny.serve.service import Service
from ontogeny.serve.wanted import Served

LOOK_SECONDS = 0.5
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 5.0, 300.0
Loaded = tuple[Served, Streams]
Load = Callable[[str], Loaded]
"""A model of this id behind a policy; called in a thread of its own. It may raise anything."""
Stamp = tuple[int, int, int] | None


class Following:
    """Follows the file of one channel.

    Args:
        load: see `Load`; what answers meanwhile is in memory, too.
        shadows: whether a shadow's answers have a place to go; else none is loaded.
    """

    def __init__(
        self,
        fleet: Fleet,
        store: Store,
        name: str,
        load: Load,
        log: Log | None = None,
        *,
        shadows: bool = True,
    ) -> None:
        self._fleet, self._store, self._name = fleet, store, name
        self._load, self._log, self._shadows = load, log, shadows
        self._file = channel_file(store, name)
        self._wait = FIRST_RETRY_SECONDS
        self._kept: tuple[str, Loaded] | None = None

    async def run(self) -> None:
        """Until it is cancelled. What fails is told, and tried again ever more rarely."""
        loader = ThreadPoolExecutor(1, "loader")
        try:
            while True:
                seen = self._stamp()
                with contextlib.suppress(_Changed):
                    await self._keep_up(seen, loader)
                    self._kept = None
                whole, due = not self._fleet.warnings, time.monotonic() + self._wait
                self._wait = (
                    FIRST_RETRY_SECONDS if whole else min(2 * self._wait, LAST_RETRY_SECONDS)
                )
                while self._stamp() == seen and (whole or time.monotonic() < due):
                    await asyncio.sleep(LOOK_SECONDS)
                if self._stamp() != seen:
                    self._wait = FIRST_RETRY_SECONDS
        finally:
            loader.shutdown(wait=False, cancel_futures=True)

    def _stamp(self) -> Stamp:
        """Another one for each rename."""
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    async def _keep_up(self, seen: Stamp, loader: ThreadPoolExecutor) -> None:
        """Lets those stand whom the file names; where one cannot, what stood there goes on.

        The live one stands as soon as it is loaded, whatever else is to be.

        Raises:
            _Changed: the file said something else meanwhile.
        """
        fleet, begun = self._fleet, time.monotonic()
        warnings: dict[str, str] = {}
        channel: Channel | None = None
        try:
            channel = read_channel(self._store, self._name)
            live = await self._service(channel.live, seen, loader)
        except _Changed:
            raise
        except Exception as error:
            self._failed(warnings, "live", f"{fleet.live.served.id} goes on", error)
            fleet.warnings = warnings
            if channel is not None:  # a trial that was ended ends all the same
                fleet.stand(self._lineup(channel, fleet.live))
            return
        before = fleet.live.served.id
        fleet.stand(self._lineup(channel, live))
        if fleet.live.served.id != before:
            self._tell("switched", live=channel.live, before=before, begun=begun)
        for arm in BESIDE:
            await self._try(channel, arm, seen, loader, warnings)
        fleet.warnings = warnings

    async def _try(
        self,
        channel: Channel,
        arm: Beside,
        seen: Stamp,
        loader: ThreadPoolExecutor,
        warnings: dict[str, str],
    ) -> None:
        """Loads who is tried beside the live one, unless it stands there already."""
        fleet, share = self._fleet, channel.beside(arm)
        if share is None:
            return
        if arm == "shadow" and not self._shadows:
            warnings[arm] = f"the shadow {share.model} is asked nothing: serve with --ledger FILE"
            return
        try:
            found = await self._service(share.model, seen, loader)
        except _Changed:
            raise
        except Exception as error:
            self._failed(warnings, arm, f"nobody stands as {arm}", error)
            return
        if arm == "canary":
            fleet.stand(replace(fleet.lineup, canary=found, canary_share=share.share))
        else:
            fleet.stand(replace(fleet.lineup, shadow=found, shadow_share=share.share))

    def _lineup(self, channel: Channel, live: Service) -> Lineup:
        """With those beside who stand already and still shall."""
        now, found = self._fleet.lineup, Lineup(live)
        if channel.canary and now.canary and now.canary.served.id == channel.canary.model:
            found = replace(found, canary=now.canary, canary_share=channel.canary.share)
        if channel.shadow and now.shadow and now.shadow.served.id == channel.shadow.model:
            found = replace(found, shadow=now.shadow, shadow_share=channel.shadow.share)
        return found

    async def _service(self, model: str, seen: Stamp, loader: ThreadPoolExecutor) -> Service:
        """The one that is there, or a new one, loaded aside.

        Raises:
            _Changed: the file said something else meanwhile; if it still names this one, what was
                loaded is taken then, so that no change of a share begins a load anew.
        """
        known = self._fleet.find(model)
        if known is not None:
            return known
        loop = asyncio.get_running_loop()
        kept, self._kept = self._kept, None
        if kept is None or kept[0] != model:
            kept = None  # its memory is free before another is loaded
            kept = model, await loop.run_in_executor(loader, self._load, model)
        if self._stamp() != seen:
            self._kept = kept
            raise _Changed
        served, policy = kept[1]
        aside = Aside(policy)
        aside.begin()
        return Service(served, aside)

    def _failed(self, warnings: dict[str, str], arm: str, remains: str, error: Exception) -> None:
        """Told to everybody without the file's place, and with it in the log."""
        reason = error.reason if isinstance(error, OntogenyError) else type(error).__name__
        self._fleet.failures += 1
        warnings[arm] = f"{remains}: {shortened(reason, 300)}"
        if self._log is not None:
            told = shortened(str(error), 1000)
            self._log.write(event="switch failed", channel=self._name, arm=arm, reason=told)

    def _tell(self, event: str, *, live: str, before: str, begun: float) -> None:
        if self._log is not None:
            seconds = round(time.monotonic() - begun, 3)
            told = {"channel": self._name, "live": live, "before": before}
            self._log.write(event=event, **told, seconds=seconds)


class _Changed(Exception):
    """The channel's file was written while a model was being loaded for what it said before."""
