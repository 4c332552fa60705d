"""Two model artifacts -> what differs between them: weights, and the distributions over words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ontogeny.anatomy.divergence import divergence
from ontogeny.anatomy.weights import by_kind, by_layer, together, weight_changes
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.bridge.models import load_model, shape_of
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import named_weights
from ontogeny.objectives.batch import Batch
from ontogeny.text.tokenizer import Tokenizer

ROWS = 32
"""Sequences in one forward pass."""
SIZES = ("family", "hidden", "layers", "heads", "kv_heads", "head_dim", "ff", "tied")
"""What decides the names and shapes of the weights, the vocabulary aside."""

Passage = tuple[Sequence[int], Sequence[float]]
"""Token ids, and for each a weight: where it is not 0, the two next-token distributions after
this id are compared."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far two models' distributions lie apart, one number a passage.

    Args:
        forward: KL(first || second) in nats, summed over the passage.
        reverse: KL(second || first) in nats, summed.
        agreed: tokens after which both find the same token likeliest.
        tokens: tokens compared.
    """

    forward: npt.NDArray[np.float64]
    reverse: npt.NDArray[np.float64]
    agreed: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """Two models that read the same ids; no tensor leaves it."""

    before: Transformer
    after: Transformer
    tokenizer: Tokenizer

    @property
    def context(self) -> int:
        """The longest passage that both can read."""
        return min(self.before.shape.context, self.after.shape.context)

    @property
    def flops_per_token(self) -> float:
        """FLOPs of both forward passes over one token."""
        return sum(
            model.shape.forward_flops_per_token(self.context) for model in (self.before, self.after)
        )

    def weights(self) -> dict[str, Any]:
        """The change of the weights as plain values, as `ontogeny.anatomy.weights` defines them.

        `all` is one group, `layers` and `kinds` are lists of groups, `each` has every weight. A
        change relative to weights of 0 is infinite and stands as None.

        Raises:
            InputError: the models are of different shapes.
        """
        changes = weight_changes(named_weights(self.before), named_weights(self.after))
        each = [dataclasses.asdict(change) | {"relative": change.relative} for change in changes]
        value: dict[str, Any] = _plain(
            {
                "all": dataclasses.asdict(together("all", changes)),
                "layers": [dataclasses.asdict(group) for group in by_layer(changes)],
                "kinds": [dataclasses.asdict(group) for group in by_kind(changes)],
                "each": each,
            }
        )
        return value

    def drift(self, passages: Sequence[Passage]) -> Drift:
        """The divergence on each passage; one longer than `context` is cut there."""
        rows = np.zeros((4, len(passages)))
        # Passages of like length share a batch, so that little of it is padding.
        order = sorted(range(len(passages)), key=lambda index: len(passages[index][0]))
        for start in range(0, len(order), ROWS):
            group = order[start : start + ROWS]
            found = divergence(self.before, self.after, self._batch([passages[i] for i in group]))
            sums = (found.forward_B, found.reverse_B, found.agreed_B, found.tokens_B)
            rows[:, group] = torch.stack([each.double() for each in sums]).cpu().numpy()
        return Drift(*rows)

    def _batch(self, passages: Sequence[Passage]) -> Batch:
        width = min(self.context, max(len(ids) for ids, _ in passages))
        tokens_BT = np.full((len(passages), width), self.tokenizer.end_of_text, np.int64)
        weights_BT = np.zeros((len(passages), width), np.float32)
        for row, (ids, weights) in enumerate(passages):
            assert len(ids) == len(weights), "one weight for each id"
            tokens_BT[row, : len(ids)] = ids[:width]
            weights_BT[row, : len(ids)] = weights[:width]
        tokens = torch.from_numpy(tokens_BT)
        return Batch(tokens, tokens, torch.from_numpy(weights_BT))


def load_pair(before: Artifact, after: Artifact) -> Pair:
    """Both models, verified, and their tokenizer; the second's chat template is the one used.

    Raises:
        InputError: see `common_context`; or one is no model.
        CorruptArtifact: when a file is not what was written.
    """
    (first, _), (second, tokenizer) = load_model(before), load_model(after)
    common_context(before, after)
    return Pair(first, second, tokenizer)


def common_context(before: Artifact, after: Artifact) -> int:
    """The longest passage, in tokens, that both models can read.

    Raises:
        InputError: the models differ in vocabulary or shape, context and rotary positions aside.
        CorruptArtifact: when a file is not what was written.
    """
    for model in (before, after):
        model.verify()
    known, others = (Tokenizer.load(model.path).vocabulary for model in (before, after))
    if known != others:
        raise InputError(
            f"'{before.name}' and '{after.name}' have different vocabularies, so no token of one "
            "is a token of the other; compare models of one tokenizer"
        )
    first, second = shape_of(before), shape_of(after)
    for name in SIZES:
        sizes = getattr(first, name), getattr(second, name)
        if sizes[0] != sizes[1]:
            raise InputError(
                f"'{before.name}' has {name} {sizes[0]} and '{after.name}' {sizes[1]}; "
                "compare models of one shape"
            )
    return min(first.context, second.context)


def _plain(value: Any) -> Any:
    """`value` for JSON, which has no infinity."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
