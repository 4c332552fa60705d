"""How numbers are written for people: as many digits as they deserve, never more.

Knows nothing of reports.
"""

from __future__ import annotations

import math

from ontogeny.base.errors import printable

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
BOUNDS = {"at_least": "≥", "at_most": "≤", "within": "±"}
LONGEST_TEXT = 1_500


def decimals_for(width: float) -> int:
    """Decimal places that give an interval of this width two significant digits."""
    if not width > 0:
        return 4
    return min(6, max(0, 1 - math.floor(math.log10(width))))


def fixed(value: float, decimals: int) -> str:
    """`value` with a true minus sign, and no minus before a zero."""
    text = f"{value:,.{decimals}f}"
    nothing = not text.strip("-0.,")
    return (text.lstrip("-") if nothing else text).replace("-", "\N{MINUS SIGN}")


def plain(value: float) -> str:
    """`value` in up to four significant digits: a target, a null value, a tick."""
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def bound(sense: str, target: float) -> str:
    """A target with its sense: ≥ 0.5."""
    return f"{BOUNDS[sense]} {plain(target)}"


def count(value: float) -> str:
    """3.25 M, 571 K, 42."""
    rounded = float(f"{value:.3g}")
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if rounded >= size:
            return f"{rounded / size:.4g} {unit}"
    return f"{rounded:.4g}"


def power(value: float) -> str:
    """Two digits and a power of ten; a dash for nothing."""
    if value <= 0:
        return "\N{EN DASH}"
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(SUPERSCRIPT)}"


def duration(seconds: float) -> str:
    """< 0.1 s, 0.4 s, 42 s, 4 min 03 s, 2 h 05 min."""
    if seconds < 0.05:
        return "< 0.1 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def percent(share: float) -> str:
    """A share: 95.6 %, 0.18 %, < 0.01 %; a dash for nothing."""
    if share <= 0:
        return "\N{EN DASH}"
    if share < 1e-4:
        return "< 0.01 %"
    if share >= 1:
        return f"{100 * share:,.0f} %"
    return f"{100 * share:#.{3 if share >= 0.01 else 2}g} %"


def shown(text: str, longest: int = LONGEST_TEXT) -> str:
    """What a model or a document wrote, harmless: control, bidi and surrogate characters escaped.

    Line breaks stay. What is longer than `longest` characters is cut and says so.
    """
    cut = text[:longest]
    lines = "\n".join(printable(line) for line in cut.split("\n"))
    left = len(text) - len(cut)
    return f"{lines} … ({left:,} more characters)" if left else lines
