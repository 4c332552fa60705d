"""Sources in, a corpus out: read, clean, scrub, filter, deduplicate, split, decontaminate, report.

Knows the order of the steps and nothing of how each is done, and nothing of artifacts or stages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ontogeny.base.errors import InputError
from ontogeny.corpus.decontaminate import Item, remove_contaminated
from ontogeny.corpus.exact import remove_exact
from ontogeny.corpus.minhash import remove_near
from ontogeny.corpus.plain import filter_text
from ontogeny.corpus.program import filter_code
from ontogeny.corpus.prose import filter_prose
from ontogeny.corpus.report import Report, make_report
from ontogeny.corpus.scrub import IN_CODE, IN_PROSE, Finder, scrub
from ontogeny.corpus.sources import default_rules, read
from ontogeny.corpus.split import split
from ontogeny.corpus.table import DOCUMENTS, REMOVED, Outcome
from ontogeny.corpus.table import documents as rows
from ontogeny.corpus.unicode_policy import Change, clean

Step = Callable[[pa.Table], Outcome]

# By rules, not by domain. Tasks are generated and alike by nature: only equal ones are removed.
STEPS: Mapping[str, tuple[Step, ...]] = {
    "english": (filter_prose, remove_exact, remove_near),
    "code": (filter_code, remove_exact, remove_near),
    "text": (filter_text, remove_exact, remove_near),
    "tasks": (remove_exact,),
}
FINDERS: Mapping[str, tuple[Finder, ...]] = {
    "english": IN_PROSE,
    "code": IN_CODE,
    "text": IN_PROSE,
}


class Corpus(NamedTuple):
    """Documents by split (train, heldout, validation where asked for), removals, the counts."""

    sides: Mapping[str, pa.Table]
    removed: pa.Table
    report: Report


def read_all(specs: Sequence[str], expected: Sequence[str] | None = None) -> Outcome:
    """All documents of all `specs` (see `sources.read`), ids checked to be unique.

    Args:
        specs: source specifications.
        expected: their fingerprints, if taken before.

    Raises:
        InputError: a source cannot be read, or two sources give the same document.
    """
    if not specs:
        raise InputError("no sources; give at least one DOMAIN=SPEC")
    marks = expected if expected is not None else [None] * len(specs)
    outcomes = [read(spec, mark) for spec, mark in zip(specs, marks, strict=True)]
    kept = pa.concat_tables([outcome.kept for outcome in outcomes])
    ids = kept["id"].to_pylist()
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(name for name in ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InputError(f"two sources give document {twice!r}; name each source once")
    return Outcome(kept, pa.concat_tables([outcome.removed for outcome in outcomes]))


def build(
    documents: pa.Table,
    removed: pa.Table | None = None,
    *,
    rules: Mapping[str, str] | None = None,
    heldout_share: Mapping[str, float],
    validation_share: Mapping[str, float] | None = None,
    exam: Sequence[Item] = (),
    seed: int = 0,
) -> Corpus:
    """Clean, scrub, filter, deduplicate and split each domain; keep exams out of training.

    Args:
        documents: all documents, e.g. `read_all(specs).kept`.
        removed: what reading removed, to be counted along.
        rules: by domain, a key of `STEPS`; a domain not named has `sources.default_rules`.
        heldout_share: by domain, the share of documents held out; a domain not named is all
            training text.
        validation_share: by domain, the share of what is left held out for choosing settings.
        exam: items no training document may hold (`decontaminate`); held-out documents are
            looked for in the same way.
        seed: of the split.

    Raises:
        InputError: unknown rules, or nothing left of a domain.
    """
    changes: dict[str, Mapping[str, Change]] = {}
    train, validation, heldout = ([DOCUMENTS.empty_table()] for _ in range(3))
    gone = [REMOVED.empty_table() if removed is None else removed]
    for domain in sorted(documents["domain"].unique().to_pylist()):
        table = documents.filter(pc.equal(documents["domain"], domain))
        name = (rules or {}).get(domain) or default_rules(domain)
        table, out, changes[domain] = _cleaned(table, name)
        gone.append(out)
        if not table.num_rows:
            raise InputError(f"nothing of domain {domain!r} is left: {_told(domain, gone)}")
        forbidden = list(exam)
        for purpose, shares, side in (
            ("heldout", heldout_share, heldout),
            ("validation", validation_share or {}, validation),
        ):
            if domain not in shares:
                continue
            table, held = split(table, shares[domain], seed, purpose)
            side.append(held)
            # The split keeps overlapping documents together but for common phrases; a held-out
            # document that is mostly such phrases is caught here.
            forbidden += [Item(row.id, row.text) for row in rows(held)]
        table, out = remove_contaminated(table, forbidden)
        gone.append(out)
        train.append(table)
    sides = {"train": pa.concat_tables(train)}
    if validation_share:
        sides["validation"] = pa.concat_tables(validation)
    sides["heldout"] = pa.concat_tables(heldout)
    everything = pa.concat_tables(gone)
    return Corpus(sides, everything, make_report(sides, everything, changes))


def _told(domain: str, gone: Sequence[pa.Table]) -> str:
    """How many documents of `domain` each reason removed, the commonest first."""
    tables = [table.filter(pc.equal(table["domain"], domain)) for table in gone]
    counts = Counter(reason for table in tables for reason in table["reason"].to_pylist())
    return ", ".join(f"{count} {reason}" for reason, count in counts.most_common())


def _cleaned(table: pa.Table, rules: str) -> tuple[pa.Table, pa.Table, Mapping[str, Change]]:
    """What is left of one domain, what was removed, what was changed."""
    table, changed = clean(table, prose=rules == "english", joiners=rules == "text")
    table, scrubbed = scrub(table, FINDERS.get(rules, ()))
    gone = []
    for step in _steps(rules):
        table, out = step(table)
        gone.append(out)
    return table, pa.concat_tables(gone), {**changed, **scrubbed}


def _steps(rules: str) -> tuple[Step, ...]:
    if rules not in STEPS:
        raise InputError(f"there are no rules {rules!r}; rules are {', '.join(sorted(STEPS))}")
    return STEPS[rules]
