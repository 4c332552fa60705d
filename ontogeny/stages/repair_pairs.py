"""Tokenizer + attacks -> pairs: the right answer before the one that an attack drew."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.run.work import Made, Work
from ontogeny.safety.archive_read import check_held, read_elites, read_refusals
from ontogeny.text.message import Message
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer

_MOST = 1_000


@dataclass(frozen=True, kw_only=True)
class RepairPairs:
    """A refusal before the help that an attack drew; help before the refusal of a benign request.

    Prompts and worse answers keep the ids that were read and sampled. What an archive holds out
    makes no pair. Of the kind of which there are more, at most `ratio` times as many as of the
    other are kept, drawn at random: pairs of one kind teach to refuse nothing, or everything.

    Raises:
        InputError: of either kind nothing that may be trained on is there, ratio is below 1, or
            archives hold out unlike things.
    """

    ratio: float = 1.0

    stage: ClassVar[str] = "repair_pairs"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("tokenizer|model", "attacks+")
    makes: ClassVar[str] = "pairs"

    def __post_init__(self) -> None:
        if not 1 <= self.ratio <= _MOST:
            raise InputError(f"ratio is {self.ratio}; give 1 to {_MOST}")

    def __call__(self, work: Work, tokenizer: Artifact, *attacks: Artifact) -> Made:
        """Writes pairs.jsonl."""
        check_held(attacks)
        tokenizer.verify()
        encoder = Tokenizer.load(tokenizer.path)
        harmful = [row for each in attacks for row in self._helped(each, encoder)]
        benign = [row for each in attacks for row in self._refused(each, encoder)]
        if not harmful or not benign:
            raise InputError(
                f"{len(harmful)} attacks worked and {len(benign)} benign requests were refused, of "
                "those that may be trained on; pairs need some of both: learn from talks instead"
            )
        found = len(harmful), len(benign)
        most = int(self.ratio * min(found))
        draw = random.Random(work.named_seed("pairs"))
        harmful, benign = (
            rows if len(rows) <= most else draw.sample(rows, most) for rows in (harmful, benign)
        )
        with (work.payload / "pairs.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(
                json.dumps(row, ensure_ascii=False) + "\n" for row in (*harmful, *benign)
            )
        return Made(
            metrics={"pairs": len(harmful) + len(benign), "benign": len(benign)},
            summary=(
                f"{len(harmful):,} of {found[0]:,} pairs from attacks that worked, "
                f"{len(benign):,} of {found[1]:,} from benign requests refused under one",
            ),
            tokens=sum(len(row[s]) for row in (*harmful, *benign) for s in ("chosen", "rejected")),
        )

    def _helped(self, attacks: Artifact, encoder: Tokenizer) -> Iterator[dict[str, Any]]:
        for elite, held in read_elites(attacks):
            for each in () if held else elite.successes:
                texts = [each.turns[each.turn], each.right, each.answers[each.turn]]
                yield _row(each.request, each.prompt, each.rejected, texts, encoder)

    def _refused(self, attacks: Artifact, encoder: Tokenizer) -> Iterator[dict[str, Any]]:
        for each in read_refusals(attacks):
            if each.right and not each.held_out:
                texts = [each.text, each.right, each.answer]
                yield _row(each.request, each.prompt, each.rejected, texts, encoder)


def _row(
    request: str, prompt: Any, rejected: Any, texts: list[str], encoder: Tokenizer
) -> dict[str, Any]:
    """A pair as `stages.pairs` writes it."""
    return {
        "task": request,
        "prompt": list(prompt),
        "chosen": list(_answer(texts[1], encoder)),
        "rejected": list(rejected),
        "texts": texts,
    }


def _answer(text: str, encoder: Tokenizer) -> tuple[int, ...]:
    """An answer's ids behind what opens the turn, its end included."""
    before = (Message("user", "a"),)
    prompt = render(before, encoder, generation_prompt=True).ids
    ids = render([*before, Message("assistant", text)], encoder).ids[len(prompt) :]
    return ids[: ids.index(encoder.end_of_turn) + 1]
