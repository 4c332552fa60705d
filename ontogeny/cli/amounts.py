"""Bytes and ages as a person reads them. Knows no artifact."""

from __future__ import annotations

from datetime import UTC, datetime


def size_text(size: float) -> str:
    """`size` bytes in decimal units: 812 B, 3.4 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5 or (unit == "B" and size < 1000):
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def counted(count: int, word: str) -> str:
    """`count` of a word with a regular plural: 1 name, 2 names."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def age_text(then: datetime | None, now: datetime | None = None) -> str:
    """How long ago `then` was, in its largest whole unit: 40 s, 3 min, 5 h, 2 d; ? when unknown.

    A time to come, which a clock that was set back leaves behind, counts as now.
    """
    if then is None:
        return "?"
    seconds = max(0.0, ((now or datetime.now(UTC)) - then).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{int(seconds)} s"


def columns(rows: list[tuple[str, ...]], right: tuple[int, ...] = ()) -> list[str]:
    """`rows` as aligned lines, two spaces between columns; those numbered in `right` end aligned.

    The last column is as long as it likes.
    """
    if not rows:
        return []
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    widths[-1] = 0
    return [
        "  ".join(
            text.rjust(width) if at in right else text.ljust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
