"""Merges of pairs <-> scores of tokens, the two ways of writing down a SentencePiece BPE.

Knows no files. Merges are joined in order of rank, tokens in order of score; the two are the same
where every way to join two tokens to a third is a merge (Kudo and Richardson 2018,
arXiv:1808.06226).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ontogeny.text.gguf_table import NORMAL, USER_DEFINED
from ontogeny.text.open_vocabulary import SPACE


def mergeable(tokens: Sequence[str], types: Sequence[int]) -> list[int]:
    """The tokens that joining may make. Those defined by a user are found in text before that, but
    for runs of spaces, which are spaces there and other characters here."""
    kinds = {NORMAL: "", USER_DEFINED: SPACE}
    return [i for i, kind in enumerate(types) if kind in kinds and kinds[kind] in tokens[i]]


def merges_of_scores(
    tokens: Sequence[str], scores: Sequence[float], ids: Sequence[int]
) -> list[list[str]]:
    """The merges that SentencePiece's BPE does: every way to join two pieces to a third, the
    piece of the highest score first (Kudo and Richardson 2018, arXiv:1808.06226).

    Args:
        ids: the pieces that text may become.
    """
    known = {tokens[i]: scores[i] for i in ids}
    order = {tokens[i]: i for i in ids}
    pairs: list[list[str]] = []
    for piece in sorted(known, key=lambda each: (-known[each], order[each])):
        cuts = ([piece[:at], piece[at:]] for at in range(1, len(piece)))
        whole = [cut for cut in cuts if cut[0] in known and cut[1] in known]
        pairs += sorted(whole, key=lambda cut: (order[cut[0]], order[cut[1]]))
    return pairs


def scores_of_merges(
    tokens: Sequence[str], types: Sequence[int], pairs: Sequence[tuple[str, str]]
) -> list[float]:
    """A score for each token, so that joining by scores is joining by merges.

    Raises:
        ValueError: no order of the tokens says what the merges say.
    """
    ids = mergeable(tokens, types)
    known = {tokens[i] for i in ids}
    inside = [pair for pair in pairs if {*pair, "".join(pair)} <= known]
    ranks: dict[str, float] = {}
    for pair in inside:
        ranks.setdefault("".join(pair), -1.0 - len(ranks))
    scores = [ranks.get(token, 0.0) for token in tokens]
    implied = merges_of_scores(tokens, scores, ids)
    pieces = ["".join(pair) for pair in inside]
    grouped = all(ranks[a] >= ranks[b] for a, b in pairwise(pieces))
    if not grouped or sorted(map(tuple, implied)) != sorted(inside):
        raise ValueError("its merges do not follow from an order of its tokens")
    return scores
