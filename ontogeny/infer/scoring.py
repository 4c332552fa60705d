"""Log-probs of given continuations; what their sequences share is read once.

Knows no text and no engine: nothing is sampled. `ontogeny.infer.tree` says what is read.

Shape suffixes: D distinct tokens of the tree, W (token, target) pairs wanted, R tokens of them
whose logits are needed, T likeliest ids.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ontogeny.base.errors import InputError
from ontogeny.infer.reading import machine_of, read
from ontogeny.infer.tiles import said
from ontogeny.infer.tree import Pass, Tree, grow
from ontogeny.model.transformer import Transformer

Ids = Sequence[int]
Places = NDArray[np.int64]
Top = tuple[tuple[int, float], ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scored:
    """Of one target: see `scoring`."""

    log_probs: list[float]
    greedy: list[bool]
    top: list[Top]


def score(
    model: Transformer, pairs: Sequence[tuple[Ids, Ids]], most_tokens: int = 4096
) -> list[tuple[list[float], list[bool]]]:
    """For each (prompt, target): log-prob of each target token, and whether it was the likeliest.

    See `scoring`, which does it pass by pass.
    """
    found = finished(scoring(model, pairs, most_tokens))
    return [(each.log_probs, each.greedy) for each in found]


def finished(steps: Generator[None, None, T]) -> T:
    """What steps that are all taken at once come to."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value


@torch.inference_mode()
def scoring(
    model: Transformer, pairs: Sequence[tuple[Ids, Ids]], most_tokens: int = 4096, top: int = 0
) -> Generator[None, None, list[Scored]]:
    """How likely each target is after its prompt, in steps of one forward pass each.

    A token is read once for all pairs that begin alike up to it, and what follows it scored once.

    Args:
        model: scores under its unmodified distribution.
        pairs: token ids, at least one in each part.
        most_tokens: of one forward pass.
        top: how many of the likeliest ids are told of each target's place.

    Returns:
        In the order of the pairs: target's log-probs in nats, their greedy flags, and the likeliest
        (id, log-prob) pairs, likeliest first, ties by the lowest id.

    Raises:
        InputError: when a pair exceeds the model's context or holds an id outside the vocabulary,
            or the model's logits are not finite.
    """
    for prompt, target in pairs:
        check(model, prompt, target)
    if not pairs:
        return []
    tree = grow(
        [np.array((*prompt, *target)[:-1], np.int64) for prompt, target in pairs],
        [len(target) for _, target in pairs],
    )
    targets = np.concatenate([np.asarray(target, np.int64) for _, target in pairs])
    vocab_size, ends = model.shape.vocab_size, np.concatenate(tree.ends)
    wanted_W, where = np.unique(ends * vocab_size + targets, return_inverse=True)
    found = _Found(*np.divmod(wanted_W, vocab_size), top)
    yield from found.steps(model, tree, most_tokens)
    log_probs, greedy = found.log_probs_W[where].tolist(), found.greedy_W[where].tolist()
    tops = found.top(ends)
    stops = np.cumsum([len(target) for _, target in pairs]).tolist()
    return [
        Scored(log_probs[start:stop], greedy[start:stop], tops[start:stop])
        for start, stop in pairwise([0, *stops])
    ]


def check(model: Transformer, prompt: Ids, target: Ids) -> None:
    """Raises InputError when `score` would refuse the pair."""
    vocab_size, context = model.shape.vocab_size, model.shape.context
    if not prompt or not target:
        raise InputError("scoring needs at least one token of prompt and one of target")
    lowest, highest = min(min(prompt), min(target)), max(max(prompt), max(target))
    if not 0 <= lowest <= highest < vocab_size:
        raise InputError(f"an id to score is outside the vocabulary (0 to {vocab_size - 1})")
    if len(prompt) + len(target) > context + 1:  # the last token is predicted, never read
        raise InputError(
            f"{len(prompt)} + {len(target)} tokens to score exceed the model's context of "
            f"{context}; shorten the prompt"
        )


class _Found:
    """What is known of `targets_W` after the tree's `tokens_W`, which rise."""

    def __init__(self, tokens_W: Places, targets_W: Places, top: int) -> None:
        self._tokens_W, self._targets_W, self._top = tokens_W, targets_W, top
        self.log_probs_W = np.empty(len(tokens_W))
        self.greedy_W = np.empty(len(tokens_W), np.bool_)
        self._tops: dict[int, Top] = {}

    def steps(
        self, model: Transformer, tree: Tree, most_tokens: int
    ) -> Generator[None, None, None]:
        """Finds it, a pass a step."""
        machine = machine_of(model)

        def inside(part: Pass) -> slice:
            return slice(*np.searchsorted(self._tokens_W, (part.first, part.stop)))

        def rows(part: Pass) -> Places:
            found: Places = np.unique(self._tokens_W[inside(part)]) - part.first
            return found

        for part, x_RC in read(model, tree, most_tokens, rows, machine):
            here = inside(part)
            tokens_R, row_W = np.unique(self._tokens_W[here], return_inverse=True)
            if len(x_RC):
                found = said(model, x_RC, row_W, self._targets_W[here], machine, self._top)
                self.log_probs_W[here] = found.log_probs_W.numpy()
                self.greedy_W[here] = found.greedy_W.numpy()
                if self._top:
                    ids, told = found.top_ids_RT.tolist(), found.top_log_probs_RT.tolist()
                    for token, *pairs in zip(tokens_R.tolist(), ids, told, strict=True):
                        self._tops[token] = tuple(zip(*pairs, strict=True))
            yield
        if np.isnan(self.log_probs_W).any():
            raise InputError("the model's logits are not finite; use an earlier checkpoint")

    def top(self, tokens: Places) -> list[Top]:
        """The likeliest after each of these tokens of the tree."""
        return [self._tops[token] for token in tokens.tolist()] if self._top else []
