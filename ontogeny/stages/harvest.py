"""Ledger or traffic -> harvest: what users said of answers, as rows to learn from."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.config import execution
from ontogeny.base.errors import InputError
from ontogeny.base.files import write_json, write_jsonl
from ontogeny.corpus.files import write_table
from ontogeny.corpus.table import removed_table
from ontogeny.feedback.exchange import Exchange, Rating, read_export
from ontogeny.feedback.harvest import Harvesting, Taken, harvested
from ontogeny.feedback.ledger import Ledger
from ontogeny.feedback.rows import CONVERSATIONS, PAIRS
from ontogeny.run.work import Made, Work

PEOPLE, REPORT = "people.json", "report.json"
DOUBTED = 0.1
"""A weight of at most this is a coin's, or of one who contradicts the others."""


@dataclass(frozen=True, kw_only=True)
class Harvest(Harvesting):
    """Conversations and preference pairs from what users rated, every removal counted.

    Reads a ledger, the traffic among the parents, or both. Where the ledger lies is execution, what
    it holds is identity.

    Attributes:
        ledger: its file.
        since: number of the row up to which a former harvest has read (its metric `until`). Votes
            up to there still say whom to believe, but no row rests on them alone, so a vote is
            learnt once. 0: nothing was harvested before.
        until: number of the last row that is read; 0: all that are there now.

    Raises:
        InputError: a number that cannot be meant, or numbers of rows without a ledger.
    """

    ledger: str = execution("")
    since: int = execution(0)
    until: int = execution(0)

    stage: ClassVar[str] = "harvest"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("traffic*",)
    makes: ClassVar[str] = "harvest"

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.since, self.until) < 0 or (self.until and self.until < self.since):
            raise InputError("since and until are numbers of rows, until not before since")
        if not self.ledger and (self.since or self.until):
            raise InputError("since and until are about a ledger; name one")

    def identity(self) -> dict[str, Any]:
        """What the ledger holds, up to `since` and up to `until`."""
        if not self.ledger:
            return {}
        _, digest, earlier = self._content
        return {"ledger": digest, "earlier": earlier}

    @functools.cached_property
    def _content(self) -> tuple[int, str, str]:
        """The last row's number and the two digests, as they are when first asked for."""
        with Ledger.read(Path(self.ledger)) as ledger:
            last = ledger.last
            if max(self.since, self.until) > last:
                wrong = f"the ledger has {last:,} rows, since or until says more"
                raise InputError(f"{wrong}; give a number that a harvest told", file=self.ledger)
            until = self.until or last
            return until, ledger.digest(until), ledger.digest(self.since) if self.since else ""

    def __call__(self, work: Work, *traffic: Artifact) -> Made:
        """Writes conversations.jsonl, pairs.jsonl, people.json, removed.parquet, report.json."""
        if not (self.ledger or traffic):
            raise InputError("nothing to harvest; name a ledger, or give traffic")
        work.progress(0, 3, "steps")
        exchanges, earlier, ratings = self._read(traffic)
        work.progress(1, 3, "steps")
        found = harvested(exchanges, ratings, self, earlier)
        work.progress(2, 3, "steps")
        write_jsonl(work.payload / CONVERSATIONS, (row.to_json() for row in found.conversations))
        write_jsonl(work.payload / PAIRS, (row.to_json() for row in found.pairs))
        write_json(work.payload / PEOPLE, found.people())
        write_table(work.payload, "removed", removed_table(sorted(found.removed)))
        until = self._content[0] if self.ledger else 0
        report = _report(found, len(earlier), len(ratings)) | {"until": until}
        write_json(work.payload / REPORT, report)
        work.progress(3, 3, "steps")
        return Made(metrics=_metrics(report), summary=tuple(_summary(report)))

    def _read(
        self, traffic: Iterable[Artifact]
    ) -> tuple[list[Exchange], list[Rating], list[Rating]]:
        """Exchanges, ratings that a harvest had before, and the others; each of them once."""
        exchanges: dict[str, Exchange] = {}
        earlier: list[Rating] = []
        ratings: dict[tuple[str, str], Rating] = {}
        sources = [read_export(each) for each in traffic]
        if self.ledger:
            until, digest, _ = self._content
            with Ledger.read(Path(self.ledger)) as ledger:
                earlier = ledger.rows(0, self.since)[1] if self.since else []
                sources.append((ledger.rows(0, until)[0], ledger.rows(self.since, until)[1]))
                if ledger.digest(until) != digest:
                    reason = "rows were deleted while it was read; run the same command again"
                    raise InputError(reason, file=self.ledger)
        for some, said in sources:
            exchanges |= {each.id: each for each in some}
            ratings |= {(each.user, each.key): each for each in said}
        return list(exchanges.values()), earlier, list(ratings.values())


def _report(found: Taken, earlier: int, ratings: int) -> dict[str, Any]:
    """What report.json holds: counts, and of each user how far the votes were believed."""
    weights = [each["weight"] for each in found.voters.values() if "weight" in each]
    return {
        "kept": {"conversations": len(found.conversations), "pairs": len(found.pairs)},
        "exchanges": found.exchanges,
        "ratings": {"new": ratings, "earlier": earlier},
        "removed": dict(sorted(Counter(each.reason for each in found.removed).items())),
        "changed": dict(sorted(found.changed.items())),
        "users": {
            "rating": len(found.voters),
            "counted": len(weights),
            "doubted": sum(weight <= DOUBTED for weight in weights),
            "compared": sum(each.get("compared", 0) > 0 for each in found.voters.values()),
            "in_rows": len(found.people()),
        },
        "voters": found.voters,
    }


def _metrics(report: dict[str, Any]) -> dict[str, float]:
    sections = ("kept", "exchanges", "ratings", "removed", "changed", "users")
    found = {f"{each}.{name}": float(n) for each in sections for name, n in report[each].items()}
    return found | {"until": float(report["until"])}


def _summary(report: dict[str, Any]) -> list[str]:
    kept, users, ratings = report["kept"], report["users"], report["ratings"]
    said = f"{ratings['new']:,} ratings"
    if ratings["earlier"]:
        said = f"{ratings['new']:,} new ratings and {ratings['earlier']:,} older ones"
    lines = [
        f"{kept['conversations']:,} conversations and {kept['pairs']:,} preference pairs from "
        f"{said} by {users['rating']:,} users; "
        f"{report['exchanges']['rated']:,} of {report['exchanges']['seen']:,} exchanges were rated",
        f"left out: {_listed(report['removed'])}",
        f"cleaned: {_listed(report['changed'])}",
        f"votes of {users['counted']:,} users counted, {users['compared']:,} of them could be "
        f"compared with others; {users['doubted']:,} are not believed",
    ]
    if report["until"]:
        lines.append(f"read up to row {report['until']:,} of the ledger")
    return lines


def _listed(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{count:,} {name}" for name, count in ordered) or "nothing"
