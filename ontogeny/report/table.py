"""The table of effects for a terminal: plain lines, aligned, without colour.

Knows no store and no terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ontogeny.base.errors import printable
from ontogeny.report.compute import GROUPS, POST_TRAINING
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


def compute_lines(report: Mapping[str, Any]) -> list[str]:
    """Each group's share of the life's FLOPs, and what the literature states beside it."""
    lines = ["share of compute"]
    for group, share in report["compute"]["ours"].items():
        beside = [
            f"{each['model']} {each['share']:.2%}"
            for each in report["compute"]["published"]
            if each["group"] == group
        ]
        words = f"; {', '.join(beside)}" if beside else ""
        lines.append(f"  {GROUPS.get(group, group):<24} {share:6.1%}{words}")
    after = sum(report["compute"]["ours"].get(group, 0.0) for group in POST_TRAINING)
    beside = [
        f"{each['model']} {each['share']:.2%} of {each['whole']}"
        for each in report["compute"]["published"]
        if each["group"] == "post_training"
    ]
    return [*lines, f"  {'post-training together':<24} {after:6.1%}; {', '.join(beside)}"]


def prompt_lines(report: Mapping[str, Any], width: int = 100) -> list[str]:
    """The same prompt through the stages, one line a stage, cut to `width` characters."""
    lines = []
    for each in report["prompts"]:
        lines.append(printable(f"after: {each['prompt']}"))
        for said in each["stages"]:
            text = printable(said["text"].replace("\n", " "))
            lines.append(f"  {said['stage']:<12} {text}"[:width])
    return lines
