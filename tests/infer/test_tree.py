"""Every distinct token is read once, in a bounded pass, and sees what stands before it, no more."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ontogeny.infer.tree import Cost, grow, passes

SEQUENCES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=12)
COSTS = st.builds(Cost, st.integers(1, 40), st.integers(0, 2000), st.integers(0, 50))
ONE_MASK = Cost(10**6, 10**12, 0)


def tree_of(sequences, tails=None):
    return grow([np.array(each) for each in sequences], tails or [len(each) for each in sequences])


def prefixes(sequences):
    return {tuple(each[: n + 1]) for each in sequences for n in range(len(each))}


def story(tree, token, parents):
    """The ids from the first of its sequence to this token."""
    ids = []
    while token is not None:
        ids.append(int(tree.ids_D[token]))
        token = parents[token]
    return tuple(ids[::-1])


def parents_of(tree):
    path, parents = {}, {}
    for run in tree.runs:
        for place in range(run.count):
            path[run.depth + place] = run.first + place
            parents[run.first + place] = (
                path.get(run.depth + place - 1) if run.depth + place else None
            )
    return parents


def seen_by(part, kept):
    """For each token of a pass the tokens that it sees; `kept` are those from earlier passes."""
    tokens = list(range(part.first, part.stop))
    seen, start = {}, 0
    for block in part.blocks:
        for row in range(block.count):
            own = tokens[start + row * block.length : start + (row + 1) * block.length]
            if block.sight is None:
                seen |= {token: set(own[: place + 1]) for place, token in enumerate(own)}
                continue
            chain, mask_UK = block.sight
            keys = of(chain, kept, tokens)
            assert mask_UK.shape == (len(own), len(keys))
            for token, mask_K in zip(own, mask_UK, strict=True):
                seen[token] = {key for key, allowed in zip(keys, mask_K, strict=True) if allowed}
        start += block.count * block.length
    assert start == len(tokens), "blocks make up the pass"
    return seen


def of(chain, kept, tokens):
    return kept[: chain.kept] + [each for span in chain.spans for each in tokens[slice(*span)]]


@given(SEQUENCES)
def test_the_tree_holds_each_prefix_once(sequences):
    tree = tree_of(sequences)
    parents = parents_of(tree)
    stories = [story(tree, token, parents) for token in range(len(tree.ids_D))]
    assert sorted(stories) == sorted(prefixes(sequences))
    assert [len(each) - 1 for each in stories] == tree.depths_D.tolist()
    for sequence, end in zip(sequences, tree.ends, strict=True):
        assert [stories[token] for token in end] == [
            tuple(sequence[: n + 1]) for n in range(len(sequence))
        ]


@settings(deadline=None)
@given(SEQUENCES, COSTS, st.integers(1, 60))
def test_a_token_sees_its_own_past_and_nothing_else(sequences, cost, most):
    tree = tree_of(sequences)
    parents, read, kept = parents_of(tree), 0, []
    for part in passes(tree, most, cost):
        assert part.first == read and 0 < part.stop - part.first <= most
        for token, seen in seen_by(part, kept).items():
            past = {token}
            while parents[min(past)] is not None:
                past.add(parents[min(past)])
            assert seen == past
        kept = of(part.keep, kept, list(range(part.first, part.stop)))
        read = part.stop
    assert read == len(tree.ids_D)
    assert kept == []


@given(SEQUENCES, COSTS, st.integers(1, 60))
def test_passes_are_full_but_for_lone_sequences(sequences, cost, most):
    sequences = [[9, *each] for each in sequences]  # all begin alike
    *full, _ = passes(tree_of(sequences), most, cost)
    assert all(part.stop - part.first == most for part in full)


def test_where_nothing_is_shared_there_is_no_mask_and_like_lengths_stand_side_by_side():
    sequences = [[1, 5, 5], [2, 5], [3, 5, 5], [4, 5], [6]]
    (part,) = passes(tree_of(sequences), 100, ONE_MASK)
    assert [(block.count, block.length) for block in part.blocks] == [(2, 3), (2, 2), (1, 1)]
    assert all(block.sight is None for block in part.blocks)


def test_only_the_asked_ends_are_named():
    tree = tree_of([[1, 2, 3], [1, 2], [1, 2, 3]], [1, 2, 3])
    assert [end.tolist() for end in tree.ends] == [[2], [0, 1], [0, 1, 2]]


def test_masks_grow_with_the_branches_of_a_long_trunk_not_with_their_square():
    def masked(branches):
        tree = tree_of([[7] * 500 + [branch, 1, 2, 3] for branch in range(branches)])
        blocks = [
            block for part in passes(tree, 4096, Cost(256, 4096, 20)) for block in part.blocks
        ]
        return sum(block.sight[1].size for block in blocks if block.sight)

    assert masked(2000) < 11 * masked(200)


def test_nested_prefixes_are_one_chain():
    sequences = [[1] * length for length in range(1, 300)]
    tree = tree_of(sequences)
    assert len(tree.ids_D) == 299
    assert sum(p.stop - p.first for p in passes(tree, 50, Cost(16, 10, 1))) == 299


@pytest.mark.parametrize("sequences", [[], [[]]])
def test_no_tokens_make_no_pass(sequences):
    assert list(passes(tree_of(sequences), 10, ONE_MASK)) == []
