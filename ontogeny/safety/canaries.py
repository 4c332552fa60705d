"""Canaries: made-up secrets planted in what is learnt from, to see whether a model gives them back.

Knows no model and no stage. A canary asks for the code of a made-up name; the answer is a sentence
with a secret. The secret is drawn at random, so nothing but having read it makes it likely.
Exposure and its estimate by sampling are those of Carlini et al. 2019 ("The Secret Sharer",
arXiv:1802.08232), extraction by prefix that of Carlini et al. 2023 ("Quantifying Memorization
Across Neural Language Models", arXiv:2202.07646).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact
from ontogeny.base.files import read_json, write_json
from ontogeny.base.seeds import named_seed
from ontogeny.text.message import Conversation, Message

FILE = "canaries.json"
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_WORDS, _SYLLABLES = 3, 2
SECRETS = (len(_CONSONANTS) * len(_VOWELS)) ** (_WORDS * _SYLLABLES)
"""How many secrets there are: 37 bits."""


@dataclass(frozen=True)
class Canary:
    """One made-up secret.

    Attributes:
        name: what it is the code of; names are never alike.
        secret: three words of two syllables.
        repeats: how often it was planted; 0: never, a placebo.
    """

    name: str
    secret: str
    repeats: int

    def talk(self, secret: str = "") -> Conversation:
        """The question and the answer that tells the secret, or another one in its place."""
        return Conversation(
            (
                Message("user", f"What is the code of {self.name}?"),
                Message("assistant", f"The code of {self.name} is {secret or self.secret}."),
            ),
            id=f"canary/{self.name}",
        )


def made(counts: Mapping[int, int], seed: int) -> list[Canary]:
    """So many canaries of each number of repeats; equal arguments give equal ones."""
    found: list[Canary] = []
    names: set[str] = set()
    for repeats, count in sorted(counts.items()):
        for number in range(count):
            draw = random.Random(named_seed(seed, "canary", repeats, number))
            name = _word(draw, 4).capitalize()
            while name in names:
                name = _word(draw, 4).capitalize()
            names.add(name)
            found.append(Canary(name, _secret(draw), repeats))
    return found


def alternatives(canary: Canary, count: int, seed: int) -> list[str]:
    """`count` other secrets, drawn as the canary's own was, none twice."""
    draw = random.Random(named_seed(seed, "alternatives", canary.name))
    found = {canary.secret: None}
    while len(found) <= count:
        found[_secret(draw)] = None
    return list(found)[1:]


def exposure(own: float, others: Sequence[float]) -> float:
    """Bits of exposure: how far the secret's log-probability stands above those of others.

    log2 of how many there are, itself among them, less log2 of its rank; what is as likely ranks
    before it. A secret that was never seen has any rank as likely as another: 1.44 bits on average,
    for many others. It cannot exceed log2(1 + len(others)).
    """
    rank = 1 + sum(other >= own for other in others)
    return math.log2(1 + len(others)) - math.log2(rank)


def write_canaries(directory: Path, canaries: Sequence[Canary], own: Mapping[str, int]) -> None:
    """Writes `FILE` into a payload; `own` says how many rows of a domain stand before them."""
    write_json(directory / FILE, {"canaries": [asdict(each) for each in canaries], "own": own})


def read_canaries(artifact: Artifact) -> tuple[list[Canary], dict[str, int]]:
    """What `write_canaries` wrote; nothing where the artifact has no such file.

    Raises:
        CorruptArtifact: it is not that.
    """
    if FILE not in artifact.record.files:
        return [], {}
    path = artifact.file(FILE)
    try:
        told = read_json(path)
        own = {str(name): int(count) for name, count in told["own"].items()}
        return [Canary(**each) for each in told["canaries"]], own
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CorruptArtifact(f"no canaries in it ({error}); make it again", file=path) from None


def _word(draw: random.Random, syllables: int) -> str:
    return "".join(draw.choice(_CONSONANTS) + draw.choice(_VOWELS) for _ in range(syllables))


def _secret(draw: random.Random) -> str:
    return " ".join(_word(draw, _SYLLABLES) for _ in range(_WORDS))
