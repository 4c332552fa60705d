"""Numbers are written with the digits they deserve."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.report import figures
from ontogeny.report.table import effects_table


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (figures.fixed(-0.0004, 3), "0.000"),
        (figures.fixed(0.0, 3), "0.000"),
        (figures.fixed(-1.5, 1), "\N{MINUS SIGN}1.5"),
        (figures.plain(-0.02), "\N{MINUS SIGN}0.02"),
        (figures.bound("at_most", 1.45), "≤ 1.45"),
        (figures.bound("within", 0.02), "± 0.02"),
        (figures.count(999.7), "1 K"),
        (figures.count(571_214), "571 K"),
        (figures.count(999_999), "1 M"),
        (figures.count(3_250_000), "3.25 M"),
        (figures.count(14.8e12), "14.8 T"),
        (figures.power(2.13e13), "2.1 × 10¹³"),
        (figures.power(0), "–"),
        (figures.duration(0.42), "0.4 s"),
        (figures.duration(9.97), "10 s"),
        (figures.duration(59.7), "1 min 00 s"),
        (figures.duration(243), "4 min 03 s"),
        (figures.duration(7_500), "2 h 05 min"),
        (figures.percent(0.9555), "95.5 %"),
        (figures.percent(0.00179), "0.18 %"),
        (figures.percent(0.000001), "< 0.01 %"),
        (figures.percent(12.5), "1,250 %"),
        (figures.percent(0), "–"),
    ],
)
def test_a_number_is_written_as_a_person_would(written: str, expected: str) -> None:
    assert written == expected


@given(st.floats(1e-5, 1e5))
def test_an_interval_keeps_two_digits_of_its_width(width: float) -> None:
    decimals = figures.decimals_for(width)
    error = abs(float(f"{width:.{decimals}f}") - width)
    assert error <= 0.051 * width or decimals == 6
    assert 0 <= decimals <= 6
    assert figures.decimals_for(0.0) == 4


def row(name: str, **fields: object) -> dict[str, object]:
    nothing = {"estimate": None, "low": None, "high": None, "seeds": [], "verdict": "untested"}
    return {"name": name, "sense": "at_least", "target": 0.5} | nothing | fields


def test_the_table_of_a_terminal_is_aligned() -> None:
    measured = {"estimate": 1.451, "low": 1.405, "high": 1.501, "seeds": [{}, {}, {}]}
    bits = row("base.bpb", sense="at_most", target=1.45, verdict="short", **measured)
    assert effects_table({"effects": [bits, row("continue.gain")]}) == [
        "effect         estimate [95 % interval]  target        verdict   seeds",
        "base.bpb       1.451 [1.405, 1.501]      at most 1.45  short     3",
        "continue.gain  -                         at least 0.5  untested  0",
    ]
    assert effects_table({"effects": []}) == []


def test_a_name_cannot_steer_the_terminal() -> None:
    assert effects_table({"effects": [row("x\x1b[2J\n")]})[1].startswith("x\\x1b[2J\\n  -")
