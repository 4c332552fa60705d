"""The next token of each row: its rules, its guide, what is told beside it, and its end.

Knows no model and no cache: logits come in, handles are filled.

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ontogeny.infer.handle import Handle
from ontogeny.infer.sampling import NOTHING, choose, likeliest
from ontogeny.infer.steering import Steering


class Chooser:
    """Gives tokens to the requests in `slots` slots of `length` tokens."""

    def __init__(self, slots: int, length: int, vocab_size: int, device: torch.device) -> None:
        self.length = length
        self._steering = Steering(slots, length, vocab_size, device)

    def begin(self, handle: Handle) -> None:
        """A request has got its slot."""
        self._steering.begin(handle.slot, handle.prompt, handle.sampling)

    def give(self, rows: Sequence[Handle], logits_BV: Tensor, version: int) -> list[Handle]:
        """Choose each row's next token; rows that have ended choose too, and drop it.

        Returns:
            Those that had not ended; each has a token more, or has failed.

        Raises:
            InputError: when a logit is not finite.
        """
        alive = [row for row in rows if row.finish is None]
        if not rows:
            return alive
        slots, rules = [row.slot for row in rows], [row.sampling for row in rows]
        words = [row.allowed() for row in rows]
        steered_BV = self._steering.steered(logits_BV, slots, rules, words)
        ids, log_probs = choose(logits_BV, rules, [len(row.ids) for row in rows], steered_BV)
        ids = [i if row.finish is None else NOTHING for i, row in zip(ids, rows, strict=True)]
        self._steering.add(slots, ids, rules)
        telling = [i for i, row in enumerate(rows) if row.tops and ids[i] != NOTHING]
        if telling:
            told = likeliest(logits_BV[telling], [rows[i].tops for i in telling])
            for i, pairs in zip(telling, told, strict=True):
                rows[i].top.append(pairs)
        for row, id_, log_prob in zip(rows, ids, log_probs, strict=True):
            if row.finish is None:
                row.receive(id_, log_prob, version, self.length)
        return alive
