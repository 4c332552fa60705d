"""A comparison as aligned plain text. Knows no store; reads what `stages.compare` wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ontogeny.evaluate.damage import (
    COST,
    EXAM,
    EXAM_TOTALS,
    KL,
    SCORE,
    flipped,
    percent,
    read_on,
    signed,
    verdict,
)

Row = Sequence[str]


def table(comparison_id: str, comparison: Mapping[str, Any]) -> list[str]:
    """Header, damage by domain, exam, divergence and weights, one line each row."""
    before, after = (comparison[side]["name"] for side in ("before", "after"))
    found = comparison["differences"]
    ids = " -> ".join(comparison[side]["id"] for side in ("before", "after"))
    lines = [f"{before} -> {after}", f"  {ids}, comparison {comparison_id}"]
    for title, names in _parts(found).items():
        rows = [_level(what, name, found[name]) for name, what in names.items()]
        if rows:
            lines += ["", *_aligned([(title, before, after, "difference", ""), *rows])]
        if title == "exam" and SCORE in comparison["flips"]:
            lines.append(f"  {flipped(comparison['flips'][SCORE])}")
    divergences = list(_divergences(comparison["divergence"]))
    if divergences:
        kl = (f"KL({before} || {after})", f"KL({after} || {before})")
        head = ("divergence, nats a token", *kl, "same likeliest token")
        lines += ["", *_aligned([head, *divergences])]
    return [*lines, "", *_aligned(list(_weights(comparison["weights"])))]


def _parts(found: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Title -> series and what to call it: text, the exam's totals before its parts, the rest."""
    text = {name: name.removesuffix(COST) for name in found if name.endswith(COST)}
    exam = {name: what for name, what in EXAM_TOTALS.items() if name in found}
    exam |= {
        name: name.removeprefix(EXAM).removesuffix(".score")
        for name in found
        if name.startswith(EXAM) and name.endswith(".score") and name != SCORE
    }
    rest = {n: n for n in found if n not in text and not n.startswith(EXAM)}
    return {"text, nats a token": text, "exam": exam, "also measured": rest}


def _level(what: str, name: str, each: Mapping[str, Any]) -> Row:
    change = each["difference"]
    levels = (f"{each[side]['estimate']:.3f}" for side in ("before", "after"))
    return (what, *levels, signed(change), verdict(name, change))


def _divergences(found: Mapping[str, Any]) -> Iterator[Row]:
    for name in found:
        if name.endswith(KL):
            stem = name.removesuffix(KL)
            agreement = found[f"{stem}.agree"]["estimate"]
            shown = (_span(found[name]), _span(found[f"{name}_reverse"]), f"{agreement:.1%}")
            yield (read_on(stem), *shown)


def _weights(weights: Mapping[str, Any]) -> Iterator[Row]:
    yield (
        *("weights", "change", "moved", "visibly", "stable rank", "effective rank"),
        *("overlap", "by chance"),
    )
    kinds = (group for group in weights["kinds"] if group["name"] != "embeddings")
    for group in (weights["all"], *weights["layers"], *kinds):
        shares = (percent(group[name]) for name in ("relative", "changed", "visible"))
        spectrum = group["spectrum"]
        ranks = ("",) * 4
        if spectrum is not None:
            ranks = (
                f"{spectrum['stable_rank']:.1f}",
                f"{spectrum['effective_rank']:.1f}",
                f"{spectrum['overlap']:.2f}",
                f"{spectrum['chance']:.2f}",
            )
        yield (group["name"], *shares, *ranks)


def _span(found: Mapping[str, float]) -> str:
    return f"{found['estimate']:#.3g} [{found['low']:#.3g}, {found['high']:#.3g}]"


def _aligned(rows: Sequence[Row]) -> list[str]:
    """A title row and rows below it: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        indent = "  " if number else ""
        cells = [f"{indent}{row[0]}".ljust(widths[0] + 2)]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines
