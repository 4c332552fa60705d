"""Log-probs of given continuations, many packed side by side in one forward pass.

Knows no text and no engine: nothing is sampled, nothing is cached.

Shapes: T tokens packed in one row, R of them scored, C channels, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ontogeny.base.errors import InputError
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch

Ids = Sequence[int]
HEAD_ROWS = 256
"""Rows of logits that exist at once."""


def score(
    model: Transformer, pairs: Sequence[tuple[Ids, Ids]], most_tokens: int = 4096
) -> list[tuple[list[float], list[bool]]]:
    """For each (prompt, target): log-prob of each target token, and whether it was the likeliest.

    Args:
        model: scores under its unmodified distribution.
        pairs: token ids, at least one in each part.
        most_tokens: of one forward pass (one pair may exceed it alone).

    Returns:
        In the order of the pairs: target's log-probs in nats, and their greedy flags.

    Raises:
        InputError: when a pair exceeds the model's context or holds an id outside the vocabulary.
    """
    for prompt, target in pairs:
        check(model, prompt, target)
    answers: list[tuple[list[float], list[bool]]] = []
    for group in _groups(pairs, most_tokens):
        answers += _score_packed(model, group)
    return answers


def check(model: Transformer, prompt: Ids, target: Ids) -> None:
    """Raises InputError when `score` would refuse the pair."""
    vocab_size, context = model.shape.vocab_size, model.shape.context
    if not prompt or not target:
        raise InputError("scoring needs at least one token of prompt and one of target")
    if not 0 <= min(*prompt, *target) <= max(*prompt, *target) < vocab_size:
        raise InputError(f"an id to score is outside the vocabulary (0 to {vocab_size - 1})")
    if len(prompt) + len(target) > context + 1:  # the last token is predicted, never read
        raise InputError(
            f"{len(prompt)} + {len(target)} tokens to score exceed the model's context of "
            f"{context}; shorten the prompt"
        )


def _groups(pairs: Sequence[tuple[Ids, Ids]], most_tokens: int) -> Iterator[list[tuple[Ids, Ids]]]:
    group: list[tuple[Ids, Ids]] = []
    held = 0
    for prompt, target in pairs:
        length = len(prompt) + len(target) - 1
        if group and held + length > most_tokens:
            yield group
            group, held = [], 0
        group.append((prompt, target))
        held += length
    if group:
        yield group


@torch.inference_mode()
def _score_packed(
    model: Transformer, pairs: list[tuple[Ids, Ids]]
) -> list[tuple[list[float], list[bool]]]:
    tokens: list[int] = []
    lengths: list[int] = []
    scored: list[int] = []
    for prompt, target in pairs:
        first = len(tokens) + len(prompt) - 1
        scored += range(first, first + len(target))
        lengths.append(len(prompt) + len(target) - 1)
        tokens += (*prompt, *target)[:-1]
    targets = [id_ for _, target in pairs for id_ in target]
    tokens_1T = torch.tensor([tokens])
    batch = Batch(tokens_1T, torch.zeros_like(tokens_1T), torch.zeros(tokens_1T.shape), [lengths])
    states_RC = model.states(batch)[torch.tensor(scored, device=model.device)]
    targets_R = torch.tensor(targets, device=model.device)
    log_probs: list[float] = []
    greedy: list[bool] = []
    for start in range(0, len(targets), HEAD_ROWS):
        x_KC, targets_K = states_RC[start : start + HEAD_ROWS], targets_R[start : start + HEAD_ROWS]
        logits_KV = model.project(x_KC).float()
        chosen_K = logits_KV.gather(1, targets_K[:, None])[:, 0]
        log_probs += (chosen_K - logits_KV.logsumexp(1)).tolist()
        greedy += (logits_KV.argmax(1) == targets_K).tolist()
    ends = torch.tensor([len(target) for _, target in pairs]).cumsum(0).tolist()
    starts = [0, *ends[:-1]]
    return [
        (log_probs[start:end], greedy[start:end]) for start, end in zip(starts, ends, strict=True)
    ]
