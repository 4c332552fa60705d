"""The documents of a bundle: the card, the system card, the usage policy, the costs.

Each holds numbers by citation only, and one rule checks them all. The card names the others; what
it does not name is not believed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.release import costs, system_card, usage_policy
from ontogeny.release.card import DRAFT, card
from ontogeny.release.card_check import check_card, check_document
from ontogeny.release.evidence import Evidence
from ontogeny.release.files import CARD, COSTS, POLICY, SYSTEM
from ontogeny.release.numbers import links
from ontogeny.release.price import PRICES
from ontogeny.release.words import Words

LONGEST = 4 << 20


class Frame(NamedTuple):
    """How a document of ours begins and ends: no other is in its place, and it is not cut off."""

    title: str
    end: str


FRAMES = {
    SYSTEM: Frame(system_card.TITLE, system_card.END),
    COSTS: Frame(costs.TITLE, costs.END),
}
OTHERS = (SYSTEM, POLICY, COSTS)
"""The documents beside the card. Bundles from before they existed have none of them."""


def written(evidence: Evidence, words: Words) -> dict[str, str]:
    """{file: text} of every document, and of the price where somebody named one.

    Raises:
        InputError: a person's words cite nothing that is there, or a record is not of the form
            that its kind has.
    """
    system = system_card.system_card(evidence)
    policy = usage_policy.usage_policy(evidence, words)
    draft = bool(usage_policy.open_places(policy))
    found = {
        CARD: card(evidence, words, system=system is not None, draft=draft),
        POLICY: policy,
        COSTS: costs.costs(evidence),
    }
    if system is not None:
        found[SYSTEM] = system
    if evidence.price is not None:
        found[PRICES] = json.dumps(evidence.price.values(), indent=1, sort_keys=True) + "\n"
    return found


def cited(texts: Mapping[str, str], evidence: Evidence, names: set[str], words: Words) -> int:
    """How many values the documents cite.

    Raises:
        InputError: a number has no evidence; only a person's words can bring one.
    """
    path = Path(CARD)
    try:
        count = check_card(texts[CARD], evidence, names, path)
        for name in OTHERS:
            if name in texts:
                path = Path(name)
                count += check_document(texts[name], evidence, names, path)
    except CorruptArtifact as error:
        line = texts[path.name].split("\n")[error.line - 1]
        file = words.policy_file if path.name == POLICY else words.file
        raise InputError(f"{error.reason}, in: {line[:80]}", file=file) from None
    return count


def check_documents(
    held: Mapping[str, bytes], evidence: Evidence, names: set[str], directory: Path
) -> tuple[int, int]:
    """(values, documents) that were compared with the evidence.

    Args:
        held: the bytes of the bundle's files.
        names: of its files, which alone a document may point to.

    Raises:
        CorruptArtifact: FILE:LINE of the first thing that is not as it should be.
    """
    told = text_of(held[CARD], directory / CARD)
    count = check_card(told, evidence, names, directory / CARD)
    present = [name for name in OTHERS if name in held]
    named = {target for _, target in links(told)}
    for name in present:
        path = directory / name
        if name not in named:
            raise CorruptArtifact(f"{CARD} does not name this document; remove it", file=path)
        text = text_of(held[name], path)
        if name in FRAMES:
            _framed(text, FRAMES[name], path)
        count += check_document(text, evidence, names, path)
        if name == POLICY:
            _told_as_draft(text, told, path)
    return count, 1 + len(present)


def _framed(text: str, frame: Frame, path: Path) -> None:
    lines = text.split("\n")
    if not lines[0].startswith(f"{frame.title}: "):
        raise CorruptArtifact(f"does not begin with '{frame.title}: '", file=path)
    if lines[-2:] != [frame.end, ""]:
        reason = f"breaks off: it does not end with '{frame.end}'"
        raise CorruptArtifact(reason, file=path, line=len(lines))


def _told_as_draft(policy: str, told: str, path: Path) -> None:
    """Refuses a policy that the card calls a draft and that is none, or the other way round."""
    open_, said = usage_policy.open_places(policy), DRAFT in told
    if open_ and not said:
        raise CorruptArtifact(
            f"this place is not filled in, and {CARD} does not call the policy a draft",
            file=path,
            line=open_[0],
        )
    if said and not open_:
        raise CorruptArtifact(f"{CARD} calls it a draft, and no place in it is open", file=path)


def text_of(data: bytes, path: Path) -> str:
    """The text of a document's bytes.

    Raises:
        CorruptArtifact: too long, or no UTF-8.
    """
    if len(data) > LONGEST:
        raise CorruptArtifact(f"a document of {len(data):,} bytes", file=path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise CorruptArtifact("the document is not UTF-8", file=path) from None
