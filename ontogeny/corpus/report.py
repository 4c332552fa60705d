"""What became of a corpus, by domain and reason: the dict that becomes report.json.

Knows only the two tables; counts no tokens, since no tokenizer exists yet at this point.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from ontogeny.corpus.table import byte_lengths
from ontogeny.corpus.unicode_policy import Change

Report = dict[str, dict[str, dict[str, dict[str, int]]]]


def make_report(
    sides: Mapping[str, pa.Table],
    removed: pa.Table,
    changes: Mapping[str, Mapping[str, Change]],
) -> Report:
    """{domain: {"kept": {side: counts}, "removed": {reason: counts}, "changed": {rule: counts}}}.

    Counts are `documents` and `bytes` (UTF-8); of a change, `documents` and `characters`. Files
    that were passed over unread count 0 bytes. Keys are sorted, so equal corpora give equal bytes.
    """
    domains: set[str] = set()
    for table in (*sides.values(), removed):
        domains.update(table["domain"].unique().to_pylist())
    kept_sides = {
        side: _count(table, "domain", byte_lengths(table).tolist()) for side, table in sides.items()
    }
    reasons = _reasons(removed)
    return {
        domain: {
            "kept": {
                side: counts.get(domain, {"documents": 0, "bytes": 0})
                for side, counts in kept_sides.items()
            },
            "removed": dict(sorted(reasons.get(domain, {}).items())),
            "changed": {
                rule: {"documents": change.documents, "characters": change.characters}
                for rule, change in sorted(changes.get(domain, {}).items())
            },
        }
        for domain in sorted(domains)
    }


def _count(table: pa.Table, column: str, sizes: list[int]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for key, size in zip(table[column].to_pylist(), sizes, strict=True):
        entry = counts.setdefault(key, {"documents": 0, "bytes": 0})
        entry["documents"] += 1
        entry["bytes"] += size
    return counts


def _reasons(removed: pa.Table) -> dict[str, dict[str, dict[str, int]]]:
    reasons: dict[str, dict[str, dict[str, int]]] = {}
    columns = (removed[name].to_pylist() for name in ("domain", "reason", "bytes"))
    for domain, reason, size in zip(*columns, strict=True):
        entry = reasons.setdefault(domain, {}).setdefault(reason, {"documents": 0, "bytes": 0})
        entry["documents"] += 1
        entry["bytes"] += size
    return reasons
