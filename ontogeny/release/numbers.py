"""How a number stands on a card: written from its evidence, or not at all.

Knows no record and no bundle; a *citation* is a Markdown link whose text is a value, whose target
is the file that holds it and whose title says which field of it, in which format:

    [1.448](evidence/cdf0e5eba844975f.json "metrics/english.bpb/estimate .3f")

Outside of citations no digit may stand for itself: not in prose, not in a table, not as a word of
code. A name that ends in digits (Qwen3) is a name.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ontogeny.base.errors import InputError, printable

Part = Literal["prose", "opens", "code", "closes"]
UNITS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "kB": 1e3, "MB": 1e6, "GB": 1e9}
FORMAT = re.compile(rf"s|(?P<spec>\+?,?\.\d[feg%])(?: (?P<unit>{'|'.join(UNITS)}))?")
LANGUAGES = ("python", "bash")  # of the fenced blocks that a card may hold
CONVENTIONS = ("95 % interval",)  # say how a number is meant, not what was measured
LONGEST_LINE, LONGEST_TEXT = 20_000, 400

_MARKUP = re.compile(r"([\\`*_\[\]<>|#$~&!])")
_CITATION = re.compile(
    r"\[(?P<text>(?:\\.|[^\[\]\\\n]){1,400})\]"
    r'\((?P<file>[\w./-]+) "(?P<field>[^"\s]+) (?P<format>[^"\n]+)"\)'
)
_LINK = re.compile(r"\]\((?P<file>[\w./-]+)\)")
_URL = re.compile(r"https?://[^\s<>()\[\]\"`|]+")
_CODE = re.compile(r"(`+)(.+?)\1")
_WORDS = re.compile(r"[^\s|()\[\]*_]+")
_RUN = re.compile(r"[^\W_]+")
_NAME = re.compile(r"[A-Za-z]+[0-9]+[A-Za-z]*")
_WORD = re.compile(r"(?!.*[^=][=:][\d.])(?:\D*[A-Za-z]\D*\d.*|\D*)")
_HTML = re.compile(r"<(?!https?://)[A-Za-z!/?]|&#")
_FENCE = re.compile(r" {0,3}(?P<marks>`{3,}|~{3,})(?P<rest>.*)")
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Citation:
    """A value on a card: its text, and the `field` of `file` that it is said to be, in `format`."""

    text: str
    file: str
    field: str
    format: str

    def __str__(self) -> str:
        return f'[{escaped(self.text)}]({self.file} "{self.field} {self.format}")'


def written(value: object, form: str) -> str:
    """`value` as a citation of this format shows it.

    Formats: `s` for text; `.3f`, `,.0f`, `+.2f`, `.2g`, `.1e`, `.1%` for numbers, with a unit
    behind (k M G T, kB MB GB) where the number is to be divided by it.

    Raises:
        InputError: no such format, or a value that it does not fit.
    """
    known = FORMAT.fullmatch(form)
    if known is None:
        raise InputError(f"'{form}' is no format; give s, .3f, ,.0f, +.2f, .1e, .1% or '.2f M'")
    if form == "s":
        if not isinstance(value, str):
            raise InputError("the evidence holds no text there; give a format for numbers")
        text = printable(" ".join(value.split()))
        return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError("the evidence holds no number there")
    unit = known["unit"]
    try:
        number = float(value) / UNITS.get(unit or "", 1.0)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError("the evidence holds no finite number there")
    return _spelled(number, known["spec"]) + (f" {unit}" if unit else "")


def _spelled(number: float, spec: str) -> str:
    text = format(number, spec)
    mantissa, e, exponent = text.partition("e")
    if not re.search("[1-9]", mantissa):
        text = "0" if e else text.lstrip("-")
    elif e:
        text = f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    return text.replace("-", "\N{MINUS SIGN}").replace("%", " %")


def decimals(low: float, high: float) -> int:
    """Decimal places that give the interval from `low` to `high` two significant digits."""
    width = high - low
    return min(6, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else 3


def escaped(text: str) -> str:
    """`text` as Markdown shows it unchanged."""
    return _MARKUP.sub(r"\\\1", text)


def citations(text: str) -> Iterator[tuple[int, Citation]]:
    """Every citation in `text` with its 1-based line."""
    for number, line in enumerate(text.split("\n"), start=1):
        for found in _CITATION.finditer(line):
            shown = re.sub(r"\\(.)", r"\1", found["text"])
            yield number, Citation(shown, found["file"], found["field"], found["format"])


def links(text: str) -> Iterator[tuple[int, str]]:
    """The target of every link in `text` that leads to a file of the bundle, with its line."""
    for number, line in enumerate(text.split("\n"), start=1):
        yield from ((number, found["file"]) for found in _LINK.finditer(line))


def objections(text: str) -> Iterator[tuple[int, str]]:
    """What in Markdown `text` may not stand on a card: (1-based line, what is wrong).

    Bare numbers, hidden and HTML characters, blocks of code in no language, or without end.
    """
    opened = 0
    for number, line, part in parts(text):
        if len(line) > LONGEST_LINE:
            yield number, f"a line of {len(line):,} characters; break it"
        elif not line.replace("\t", " ").isprintable():
            yield number, "a control or invisible character; remove it"
        elif part == "prose":
            yield from ((number, reason) for reason in _of_line(line))
        elif part == "opens" and line.strip("`~ ") not in LANGUAGES:
            yield number, f"a block of code says its language: {' or '.join(LANGUAGES)}"
        opened = {"opens": number, "closes": 0}.get(part, opened)
    if opened:
        yield opened, "this block of code never ends; close it"


def parts(text: str) -> Iterator[tuple[int, str, Part]]:
    """Each line with its number and what it is: prose, code, or the fence around code."""
    fence = ""
    for number, line in enumerate(text.split("\n"), start=1):
        mark = _FENCE.fullmatch(line)
        if fence:
            closes = mark and mark["marks"].startswith(fence) and not mark["rest"].strip()
            yield number, line, "closes" if closes else "code"
            fence = "" if closes else fence
        else:
            yield number, line, "opens" if mark else "prose"
            fence = mark["marks"] if mark else ""


def _of_line(line: str) -> Iterator[str]:
    rest = _CITATION.sub(" ", line)
    rest = _URL.sub(" ", _LINK.sub("]", rest))
    for words in _CODE.findall(rest):
        for word in words[1].split():
            if not _WORD.fullmatch(word):
                yield _bare(word)
    rest = _CODE.sub(" ", rest)
    if _HTML.search(rest):
        yield "HTML has no place on a card; write Markdown"
    for phrase in CONVENTIONS:
        rest = rest.replace(phrase, " ")
    for word in _WORDS.findall(rest):
        if any(map(_counts, _RUN.findall(word))):
            yield _bare(word.strip(",.;:!?"))


def _counts(run: str) -> bool:
    """Whether a run of letters and digits is a number: it holds a digit and is no name."""
    return not _NAME.fullmatch(run) and any(unicodedata.category(each)[0] == "N" for each in run)


def identifier(text: str) -> bool:
    """Whether `text` is a name of one word, whose digits are no number."""
    return " " not in text and _WORD.fullmatch(text) is not None and text.isprintable()


def _bare(word: str) -> str:
    return (
        f"the number '{word}' has no evidence; cite it as {{{{ NAME FIELD FORMAT }}}}, "
        "such as {{ measure/grpo exam.score .1% }}"
    )
