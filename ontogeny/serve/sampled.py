"""Live traffic judged beside the answering: what the ledger gains is looked at every few seconds.

Knows no HTTP and no model. Only what users let the server keep is looked at, and nobody waits for
it: a thread reads the ledger and asks the judge by rules. What is found goes to the metrics and the
log; it stops nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from ontogeny.base.errors import OntogenyError
from ontogeny.evaluate.alarm import Alarm, Alarmed
from ontogeny.feedback.exchange import Exchange, Rating
from ontogeny.feedback.ledger import Ledger
from ontogeny.serve.meters import Log, Meters
from ontogeny.serve.signals import observed, scored
from ontogeny.serve.traffic import Looking

LOOK_SECONDS = 5.0
PAGE = 1000
"""Rows of the ledger that are read at once."""
MOST_KNOWN = 100_000
"""Exchanges with a live model that a rating may still come for."""


class Sampled:
    """What is known of each model that was live, from its first exchange in the ledger on.

    Attributes:
        model: id of the one that was live last; "" before the first exchange.
        judged: exchanges whose answers were judged, of all models.
        failed: why the ledger cannot be read; "" while it can.
    """

    def __init__(self, looking: Looking) -> None:
        self.failed = ""
        self._looking, self._forgotten, self._ended = looking, 0, False
        self._begin()

    def _begin(self) -> None:
        self.model, self.judged = "", 0
        self._after = 0
        # by model: answers of the old one still come in after the first of the new one
        self._watched: dict[str, Alarm] = {}
        self._models: dict[str, str] = {}
        self._rated: dict[str, set[tuple[str, int]]] = {}

    @property
    def alarms(self) -> list[Alarmed]:
        """What has left its reference, of the model that was live last."""
        return [*self._watched[self.model].alarms.values()] if self.model else []

    def seen(self, exchange: Exchange) -> None:
        """One more exchange; those with a canary and a shadow pass by."""
        if exchange.arm != "live":
            return
        self.model = exchange.model
        if self.model not in self._watched:
            self._watched[self.model] = self._looking.alarm()
        self._models[exchange.id] = exchange.model
        if len(self._models) > MOST_KNOWN:
            oldest = next(iter(self._models))
            del self._models[oldest]
            self._rated.pop(oldest, None)
        shown = observed(exchange, self._looking.share, self._looking.world)
        self.judged += "refused" in shown
        for name, value in shown.items():
            self._watched[exchange.model].see(name, value, exchange.user)

    def rated(self, rating: Rating) -> None:
        """One more rating; of one user's scores of one answer the first counts."""
        model = self._models.get(rating.exchange)
        if model is None:
            return
        for name, value in scored(rating).items():
            before = self._rated.setdefault(rating.exchange, set())
            if (rating.user, rating.choice) not in before:
                before.add((rating.user, rating.choice))
                self._watched[model].see(name, value, rating.user)

    def gauges(self) -> dict[str, float]:
        """For the metrics: 1 for each alarm that stands."""
        return {
            f'drift_alarm{{signal="{each.signal}",way="{each.way}"}}': 1.0 for each in self.alarms
        }

    def read(self, path: Path) -> None:
        """Looks at what a ledger has gained since the last time.

        Where somebody was forgotten it begins anew: nothing of theirs stays in memory.

        Raises:
            OntogenyError: see `Ledger.read`.
        """
        with Ledger.read(path) as ledger:
            if ledger.forgotten() != self._forgotten:
                self._forgotten = ledger.forgotten()
                self._begin()
            last = ledger.last
            while self._after < last and not self._ended:
                until = min(self._after + PAGE, last)
                exchanges, ratings = ledger.rows(self._after, until)
                self._after = until
                for exchange in exchanges:
                    self.seen(exchange)
                for rating in ratings:
                    self.rated(rating)

    async def follow(self, path: Path, meters: Meters, log: Log | None = None) -> None:
        """Looks again and again, until it is cancelled.

        A new alarm is a line of the log; a ledger that cannot be read is one, too, once.
        """
        logged: set[Alarmed] = set()
        while True:
            failed = self.failed
            try:
                await asyncio.to_thread(self.read, path)
                self.failed = ""
            except OntogenyError as error:
                self.failed = error.reason
            except asyncio.CancelledError:
                self._ended = True  # the thread reads its page to the end and no further
                raise
            meters.set("judged_total", self.judged)
            meters.gauges = self.gauges()
            told = [each.line() for each in self.alarms if each not in logged]
            logged.update(self.alarms)
            if self.failed and self.failed != failed:
                told.append(f"the traffic cannot be looked at: {self.failed}")
            if log is not None:
                for line in told:
                    log.write(drift=line, model=self.model)
            await asyncio.sleep(LOOK_SECONDS)
