"""A document against its evidence: every number, and none beside. Knows no file but its text."""

from __future__ import annotations

from pathlib import Path

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.release.evidence import Evidence
from ontogeny.release.front import Front, read_front
from ontogeny.release.numbers import Citation, citations, links, objections, written


def split_card(text: str, path: Path) -> tuple[Front, str, int]:
    """The front matter of a card, its Markdown, and the line at which that begins.

    Raises:
        CorruptArtifact: there is no front matter, or it is no plain YAML.
    """
    front, end, body = text.removeprefix("---\n").partition("\n---\n")
    if not text.startswith("---\n") or not end:
        raise CorruptArtifact("the card has no front matter between two lines ---", file=path)
    return read_front(front, path), body, front.count("\n") + 4


def check_card(text: str, evidence: Evidence, names: set[str], path: Path) -> int:
    """How many values a card cites, each compared with its evidence.

    Args:
        names: the files of the bundle, which alone the card may point to.
        path: of the card, for errors.

    Raises:
        CorruptArtifact: FILE:LINE of a number without evidence, or that says something else.
    """
    front, body, first = split_card(text, path)
    return front.check(evidence) + check_document(body, evidence, names, path, first)


def check_document(
    text: str, evidence: Evidence, names: set[str], path: Path, first: int = 1
) -> int:
    """How many values a document without front matter cites, each compared with its evidence.

    Args:
        names: the files of the bundle, which alone it may point to.
        path: of the document, for errors; `text` begins at its line `first`.

    Raises:
        CorruptArtifact: FILE:LINE of a number without evidence, or that says something else.
    """
    count = 0
    for line, reason in objections(text):
        raise CorruptArtifact(reason, file=path, line=first + line - 1)
    for line, target in links(text):
        if target not in names:
            reason = f"points to '{target}', which is no file of this bundle"
            raise CorruptArtifact(reason, file=path, line=first + line - 1)
    for line, cited in citations(text):
        wrong = _wrong(cited, evidence)
        if wrong:
            raise CorruptArtifact(wrong, file=path, line=first + line - 1)
        count += 1
    return count


def _wrong(cited: Citation, evidence: Evidence) -> str | None:
    """What is wrong with a citation, None where its text is what its evidence says."""
    try:
        said = written(evidence.value(cited.file, cited.field), cited.format)
    except InputError as error:
        return f"says {cited.text}, but {error.reason}"
    if said == cited.text:
        return None
    return f"says {cited.text}, the evidence ({cited.file}, {cited.field}) says {said}"
