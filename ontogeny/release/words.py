"""What a person adds to a card: title, licence, languages, claims, and words of their own.

Knows no model. The words are Markdown; a number in them is cited, as `{{ NAME FIELD FORMAT }}`, or
refused by its line:

    It answers {{ measure/grpo exam.score .1% }} of the exam.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ontogeny.base.artifact import Record
from ontogeny.base.errors import InputError
from ontogeny.release.evidence import CONFIG, WEIGHTS, Evidence
from ontogeny.release.numbers import identifier, objections, parts
from ontogeny.release.price import Price

_PLACE = re.compile(r"\{\{(?P<words>[^{}]*)\}\}")
_LICENSE = re.compile(r"[a-z][a-z0-9.+-]*")
_LANGUAGE = re.compile(r"[a-z]{2,3}|code|multilingual")
TODO = "TODO"
"""Begins a place that somebody has yet to fill in: `{{ TODO: who answers for it }}`."""
_SHORT = ("estimate", "low", "high", "null", "target", "units")


@dataclass(frozen=True)
class Words:
    """What stands on a card beside what records say.

    Args:
        license: of the weights, as the Hugging Face hub spells it; "other" where none was chosen.
        title: one line.
        about: Markdown, taken into the card; what stands under a heading of a section of the card
            (`## Intended use`) is taken into that section (see `sections`).
        languages: two or three letters each, or code, multilingual; empty where nobody said.
        claims: names of what was claimed in advance, measured or not.
        file: where `about` stands, for errors.
        policy: Markdown, the usage policy; empty: the template, which is a draft.
        policy_file: where `policy` stands, for errors.
        price: of an hour of the computer, if somebody named one.

    Raises:
        InputError: a licence, language or claim of another form; a title or text with a number
            that cites nothing.
    """

    license: str
    title: str
    about: str = ""
    languages: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    file: str = "about"
    policy: str = ""
    policy_file: str = "policy"
    price: Price | None = None

    def __post_init__(self) -> None:
        if not _LICENSE.fullmatch(self.license):
            raise InputError(
                f"license is '{self.license}'; give it as the hub spells it: apache-2.0, "
                "cc-by-4.0, other"
            )
        for language in self.languages:
            if not _LANGUAGE.fullmatch(language):
                raise InputError(f"language is '{language}'; give ISO 639 such as en, or code")
        for name in self.claims:
            if not identifier(name):
                raise InputError(f"'{name}' is no claim's name")
        if not self.title.strip() or "\n" in self.title:
            raise InputError("the title is one line of text; give one")
        for _, reason in objections(self.title):
            raise InputError(f"title: {reason}")
        for text, file in ((self.about, self.file), (self.policy, self.policy_file)):
            for line, reason in objections(_PLACE.sub(" ", text)):
                raise InputError(reason, file=file, line=line)
        for line, words in enumerate(self.about.split("\n"), start=1):
            if any(map(_open, _PLACE.finditer(words))):
                reason = "this place is not filled in; say it, or take it out"
                raise InputError(reason, file=self.file, line=line)

    def filled(self, evidence: Evidence) -> str:
        """`about` with every number cited.

        Raises:
            InputError: FILE:LINE of what cites nothing that is there.
        """
        return fill(self.about, evidence, self.file).strip()


def fill(text: str, evidence: Evidence, file: str) -> str:
    """`text` of `file` with every place cited; one that says TODO stays as it is.

    Raises:
        InputError: FILE:LINE of what cites nothing that is there.
    """
    return "\n".join(_filled(text, evidence, file))


def _filled(text: str, evidence: Evidence, file: str) -> Iterator[str]:
    for number, line, part in parts(text):
        if part != "prose":
            yield line
            continue
        try:
            yield _PLACE.sub(lambda found: _place(found, evidence), line)
        except InputError as error:
            raise InputError(error.reason, file=file, line=number) from None


def _place(found: re.Match[str], evidence: Evidence) -> str:
    return found[0] if _open(found) else _cited(found["words"], evidence)


def _open(found: re.Match[str]) -> bool:
    """Whether a place waits for somebody to fill it in."""
    return found["words"].split()[:1] in ([TODO], [f"{TODO}:"])


def _cited(words: str, evidence: Evidence) -> str:
    name, field, form = (*words.split(None, 2), "", "", "")[:3]
    if not form:
        raise InputError(f"'{{{{{words}}}}}' is not of the form {{{{ NAME FIELD FORMAT }}}}")
    if name in (WEIGHTS, CONFIG):
        return str(evidence.cite(name, field, form.strip()))
    record = _record(name, evidence)
    try:
        return str(evidence.cite(record.id, _full(field, record), form.strip()))
    except InputError as error:
        known = ", ".join(sorted(record.metrics)) or "nothing"
        raise InputError(f"{name} {field}: {error.reason}; it measured {known}") from None


def _record(name: str, evidence: Evidence) -> Record:
    """The record of this id or name; of one name the model's own lineage goes first."""
    if name in evidence.records:
        return evidence.records[name]
    called = [each for each in evidence.records.values() if each.name == name]
    own = [each for each in called if each.id in evidence.lineage] or called
    if len(own) == 1:
        return own[0]
    known = ", ".join(sorted({each.name for each in evidence.records.values()}))
    reason = "several records are" if own else "no record is"
    raise InputError(f"{reason} called '{name}'; the evidence has {known}")


def _full(field: str, record: Record) -> str:
    """`field` in full where it is short for a metric: exam.score, exam.score/low, estimate."""
    name, _, rest = field.partition("/")
    if record.kind == "effect" and field in _SHORT:
        return f"metrics/effect/{field}"
    if name not in record.metrics:
        return field
    inner = rest or ("estimate" if isinstance(record.metrics[name], dict) else "")
    return f"metrics/{name}" + (f"/{inner}" if inner else "")
