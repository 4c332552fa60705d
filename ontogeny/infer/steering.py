"""Bias, penalties and masks: what changes a row's logits before a token is chosen by them.

Knows no text and no model. Rows that ask for nothing cost nothing.

Shapes: B rows, R rows that ask for something, S slots, L different ids of a slot, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ontogeny.infer.guide import mask
from ontogeny.infer.sampling import NOTHING
from ontogeny.plan.sampling import Sampling

Words = NDArray[np.int32]


class Said:
    """Which ids each slot's request has read and said, each once, and how often it said them."""

    def __init__(self, slots: int, length: int, device: torch.device) -> None:
        self._ids_SL = torch.zeros(slots, length, dtype=torch.int64, device=device)
        self._counts_SL = torch.zeros(slots, length, dtype=torch.int32, device=device)
        self._listed_S = torch.zeros(slots, dtype=torch.int64, device=device)
        self._most = [0] * slots
        """Bounds of `_listed_S`, known without asking the device."""

    def begin(self, slot: int, prompt: Sequence[int]) -> None:
        """A request that has read its prompt and said nothing."""
        distinct = list(dict.fromkeys(prompt))
        self._ids_SL[slot, : len(distinct)] = torch.tensor(distinct)
        self._counts_SL[slot, : len(distinct)] = 0
        self._listed_S[slot] = self._most[slot] = len(distinct)

    def add(self, slots: Sequence[int], ids: Sequence[int]) -> None:
        """One more id said in each of these slots."""
        slots_R, ids_R = torch.tensor([slots, ids], device=self._ids_SL.device)
        for slot in slots:
            self._most[slot] += 1
        ids_RL, counts_RL, inside_RL = self._lists(slots, slots_R)
        same_RL = inside_RL & (ids_RL == ids_R[:, None])
        self._counts_SL[slots_R, : same_RL.shape[1]] = counts_RL + same_RL
        new_R = ~same_RL.any(1)
        place = slots_R, self._listed_S[slots_R]
        self._ids_SL[place] = torch.where(new_R, ids_R, self._ids_SL[place])
        self._counts_SL[place] = torch.where(new_R, 1, self._counts_SL[place])
        self._listed_S[slots_R] += new_R

    def penalise(self, logits_RV: Tensor, slots: Sequence[int], rules: Sequence[Sampling]) -> None:
        """In place: repetition for what was read or said, frequency and presence for the said."""
        slots_R = torch.tensor(slots, device=self._ids_SL.device)
        ids_RL, counts_RL, inside_RL = self._lists(slots, slots_R)
        # behind a list stands its first id again and again: writing a logit twice does no harm
        ids_RL = torch.where(inside_RL, ids_RL, ids_RL[:, :1])
        counts_RL = torch.where(inside_RL, counts_RL, counts_RL[:, :1])
        repetition_R1, frequency_R1, presence_R1 = logits_RV.new_tensor(
            [(r.repetition_penalty, r.frequency_penalty, r.presence_penalty) for r in rules]
        ).T[:, :, None]
        old_RL = logits_RV.gather(1, ids_RL)
        new_RL = torch.where(old_RL < 0, old_RL * repetition_R1, old_RL / repetition_R1)
        new_RL -= frequency_R1 * counts_RL + presence_R1 * (counts_RL > 0)
        logits_RV.scatter_(1, ids_RL, new_RL)

    def _lists(self, slots: Sequence[int], slots_R: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, counts and which of them are there, up to the end of the longest list."""
        upto = max(self._most[slot] for slot in slots)
        inside_RL = torch.arange(upto, device=slots_R.device) < self._listed_S[slots_R][:, None]
        return self._ids_SL[slots_R, :upto], self._counts_SL[slots_R, :upto], inside_RL


class Steering:
    """What the requests in the slots ask for; its tensors come to be with the first that asks."""

    def __init__(self, slots: int, length: int, vocab_size: int, device: torch.device) -> None:
        self._sizes = slots, length, vocab_size
        self._device = device
        self._bias_SV: Tensor | None = None
        self._said: Said | None = None

    def begin(self, slot: int, prompt: Sequence[int], rules: Sampling) -> None:
        """A request takes `slot`."""
        slots, length, vocab_size = self._sizes
        if rules.bias:
            if self._bias_SV is None:
                self._bias_SV = torch.zeros(slots, vocab_size, device=self._device)
            ids, values = zip(*rules.bias, strict=True)
            self._bias_SV[slot] = 0.0
            self._bias_SV[slot, torch.tensor(ids)] = torch.tensor(values, device=self._device)
        if rules.penalises:
            if self._said is None:
                self._said = Said(slots, length + 1, self._device)
            self._said.begin(slot, prompt)

    def add(self, slots: Sequence[int], ids: Sequence[int], rules: Sequence[Sampling]) -> None:
        """The ids that were chosen in these slots, one each; `NOTHING` where none was."""
        rows = [row for row, rule in enumerate(rules) if rule.penalises and ids[row] != NOTHING]
        if rows:
            assert self._said is not None
            self._said.add([slots[row] for row in rows], [ids[row] for row in rows])

    def steered(
        self,
        logits_BV: Tensor,
        slots: Sequence[int],
        rules: Sequence[Sampling],
        words: Sequence[Words | None],
    ) -> Tensor | None:
        """fp32 logits to choose by, a copy, or None where no row asks for anything.

        Args:
            words: bits of the ids that each row's guide allows (`Guide.allowed`); None: all.
        """
        biased = [row for row, rule in enumerate(rules) if rule.bias]
        penalised = [row for row, rule in enumerate(rules) if rule.penalises]
        masked = [(row, each) for row, each in enumerate(words) if each is not None]
        if not (biased or penalised or masked):
            return None
        logits_BV = logits_BV.to(torch.float32, copy=True)
        if biased:
            assert self._bias_SV is not None
            logits_BV[biased] += self._bias_SV[[slots[row] for row in biased]]
        if penalised:
            assert self._said is not None
            rows_RV = logits_BV[penalised]
            kept = [slots[row] for row in penalised]
            self._said.penalise(rows_RV, kept, [rules[row] for row in penalised])
            logits_BV[penalised] = rows_RV
        if masked:
            rows = [row for row, _ in masked]
            allowed_RV = mask([each for _, each in masked], logits_BV.shape[1], logits_BV.device)
            logits_BV[rows] = logits_BV[rows].masked_fill_(~allowed_RV, -math.inf)
        return logits_BV
