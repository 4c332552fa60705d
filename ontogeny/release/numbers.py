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
from html.entities import html5
from typing import Literal

from ontogeny.base.errors import InputError, printable

Part = Literal["prose", "opens", "code", "closes"]
UNITS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "kB": 1e3, "MB": 1e6, "GB": 1e9}
FORMAT = re.compile(rf"s|(?P<spec>\+?,?\.\d[feg%])(?: (?P<unit>{'|'.join(UNITS)}))?")
LANGUAGES = ("python", "bash")  # of the fenced blocks that a card may hold
CONVENTIONS = ("95 % interval",)  # say how a number is meant, not what was measured
LONGEST_LINE, LONGEST_TEXT = 20_000, 400

_MARKUP = re.compile(r"([\\`*_\[\]<>|#$~&!])")
CITATION = re.compile(
    r"\[(?P<text>(?:\\.|[^\[\]\\\n]){1,400})\]"
    r'\((?P<file>[\w./-]+) "(?P<field>[^"\s]+) (?P<format>[^"\n]+)"\)'
)
_LINK = re.compile(r"\]\((?P<file>[\w./-]+)\)")
_TARGET = re.compile(r"\]\(\s*(?P<inline>[^\s()]*)|^[\s>*+-]*\[[^\]^][^\]]*\]:\s*(?P<defined>\S*)")
_ELSEWHERE = ("https://", "http://", "mailto:", "#")
_URL = re.compile(r"https?://(?=[^\s/]*[A-Za-z])[^\s<>()\[\]\"`|*]+")
_CODE = re.compile(r"(?<![`\\])(`++)(.+?)(?<!`)\1(?!`)")  # CommonMark 0.31.2, section 6.1
_WORDS = re.compile(r"[^\s|()\[\]*_]+")
_RUN = re.compile(r"[^\W_]+")
_NAME = re.compile(r"[A-Za-z]+[0-9]+[A-Za-z]*")
_WORD = re.compile(r"(?!.*[^=][=:][\d.])(?:\D*[A-Za-z]\D*\d.*|\D*)")
_COMPARES = re.compile(r"[%<>~]|(?!\w)[^\x00-\x7f]")  # no part of a name that holds digits
_HTML = re.compile(r"<(?!https?://)[A-Za-z!/?]|&#")
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*;)")
_SHARE = re.compile(r"[0-9][A-Za-z]{0,20}\s{0,3}[%‰％]")
_MARK = "\x00"  # stands for a citation; no line of a card holds it
_GLUED = re.compile(
    rf"[.^]{_MARK}|(?<![\w{_MARK}])[+\-−–—]{_MARK}"  # .5, -5
    rf"|{_MARK}[.,:'’]?{_MARK}|{_MARK}[\w%‰^]"  # 9.7, 97, 9k, 9%
)
_OPENS = re.compile(r"(?P<marks>`{3,}+(?!.*`)|~{3,}+)(?P<rest>.*)")
_CLOSES = re.compile(r" {0,3}(?P<marks>`{3,}|~{3,})[ \t]*")
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
    """Every citation in `text` with its 1-based line.

    One that Markdown shows otherwise than it is spelled keeps its spelling, which no value has.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        for found in CITATION.finditer(line):
            shown = re.sub(r"\\(.)", r"\1", found["text"])
            shown = shown if escaped(shown) == found["text"] else found["text"]
            yield number, Citation(shown, found["file"], found["field"], found["format"])


def links(text: str) -> Iterator[tuple[int, str]]:
    """The target of every link in prose that leads neither to the web nor into the text itself.

    Gives (1-based line, file); citations are left out.
    """
    for number, line, part in parts(text):
        rest = _CODE.sub(" ", CITATION.sub(" ", line)) if part == "prose" else ""
        for found in _TARGET.finditer(rest):
            target = found["inline"] or found["defined"] or ""
            if not target.startswith(_ELSEWHERE):
                yield number, target.partition("#")[0]


def objections(text: str) -> Iterator[tuple[int, str]]:
    """What in Markdown `text` may not stand on a card: (1-based line, what is wrong).

    Bare numbers and what makes another of a cited one, hidden and HTML characters, pictures,
    blocks of code in no language, inside of something else, or without end.
    """
    opened = 0
    for number, line, part in parts(text):
        if len(line) > LONGEST_LINE:
            yield number, f"a line of {len(line):,} characters; break it"
        elif not line.replace("\t", " ").isprintable():
            yield number, "a control or invisible character; remove it"
        elif part == "prose":
            yield from ((number, reason) for reason in _of_line(line))
        elif part == "opens" and line.lstrip("`~").strip() not in LANGUAGES:
            yield number, f"a block of code says its language: {' or '.join(LANGUAGES)}"
        opened = {"opens": number, "closes": 0}.get(part, opened)
    if opened:
        yield opened, "this block of code never ends; close it"


def parts(text: str) -> Iterator[tuple[int, str, Part]]:
    """Each line with its number and what it is: prose, code, or the fence around code.

    A fence opens at the margin alone: inside of a list or a quotation it would end with that, and
    what follows would be prose again (CommonMark 0.31.2, sections 4.5 and 5).
    """
    fence = ""
    for number, line in enumerate(text.split("\n"), start=1):
        mark = (_CLOSES if fence else _OPENS).fullmatch(line)
        if fence:
            closes = mark and mark["marks"].startswith(fence)
            yield number, line, "closes" if closes else "code"
            fence = "" if closes else fence
        else:
            yield number, line, "opens" if mark else "prose"
            fence = mark["marks"] if mark else ""


def _of_line(line: str) -> Iterator[str]:
    marked = CITATION.sub(_MARK, line)
    if _GLUED.search(re.sub(r"[*_\[\]]", "", marked)):
        yield "something glued to a cited number makes another of it; put a blank between"
    rest = _URL.sub(" ", _LINK.sub("]", marked.replace(_MARK, " ")))
    if "```" in rest or "~~~" in rest:
        yield "a block of code begins at the margin: three backticks and its language, alone"
    for words in _CODE.findall(rest):
        for word in words[1].split():
            if not _named(word):
                yield _bare(word)
    rest = _CODE.sub(" ", rest)
    if f"!{_MARK}" in marked or "![" in rest:
        yield "a picture can show a number that nobody can check; say it in words"
    if _HTML.search(rest) or any(name in html5 for name in _ENTITY.findall(rest)):
        yield "HTML has no place on a card; write Markdown"
    for phrase in CONVENTIONS:
        rest = rest.replace(phrase, " ")
    for word in _WORDS.findall(rest):
        spellings = (word, unicodedata.normalize("NFKC", word))
        if any(_counts(run) for each in spellings for run in _RUN.findall(each)):
            yield _bare(word.strip(",.;:!?"))
    yield from map(_bare, _SHARE.findall(rest))


def _counts(run: str) -> bool:
    """Whether a run of letters and digits is a number: it holds a digit and is no name."""
    return not _NAME.fullmatch(run) and any(unicodedata.category(each)[0] == "N" for each in run)


def identifier(text: str) -> bool:
    """Whether `text` is a name of one word, whose digits are no number."""
    return " " not in text and _named(text) and text.isprintable()


def _named(word: str) -> bool:
    """Whether a word is a name: digits in it, if any, stand behind a letter and say no value."""
    counted = any(map(str.isdecimal, word)) and _COMPARES.search(word)
    return _WORD.fullmatch(word) is not None and not counted


def _bare(word: str) -> str:
    return (
        f"the number '{word}' has no evidence; cite it as {{{{ NAME FIELD FORMAT }}}}, "
        "such as {{ measure/grpo exam.score .1% }}"
    )
