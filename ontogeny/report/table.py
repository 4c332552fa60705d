"""The table of effects for a terminal: plain lines, aligned, without colour.

Knows no store and no terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ontogeny.base.errors import printable
from ontogeny.report.figures import decimals_for

HEAD = ("effect", "estimate [95 % interval]", "target", "verdict", "seeds")
SENSES = {"at_least": "at least", "at_most": "at most", "within": "within"}


def effects_table(report: Mapping[str, Any]) -> list[str]:
    """One line an effect below a head; none when the report has no effects.

    Args:
        report: the dictionary of report.json.
    """
    rows = [HEAD, *(_cells(row) for row in report["effects"])]
    if len(rows) == 1:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    estimate = "-"
    if row["estimate"] is not None:
        decimals = decimals_for(row["high"] - row["low"])
        value, low, high = (f"{row[key]:.{decimals}f}" for key in ("estimate", "low", "high"))
        estimate = f"{value} [{low}, {high}]"
    target = f"{SENSES[row['sense']]} {row['target']:.4g}"
    cells = (row["name"], estimate, target, row["verdict"], str(len(row["seeds"])))
    return tuple(printable(cell) for cell in cells)
