"""Claims about the split and about exam items in training text."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from ontogeny.base.errors import InputError
from ontogeny.corpus.decontaminate import Item, find_hits, remove_contaminated
from ontogeny.corpus.split import split
from ontogeny.corpus.table import documents_table
from ontogeny.text.document import Document


def _words(source: random.Random, count: int) -> list[str]:
    return [f"w{source.randrange(10**6)}" for _ in range(count)]


def _table(texts: list[str]) -> pa.Table:
    return documents_table(Document(f"{n:05}", "english", "made", t) for n, t in enumerate(texts))


def _texts(count: int, seed: int = 0) -> list[str]:
    source = random.Random(seed)
    return [" ".join(_words(source, 40)) for _ in range(count)]


def test_every_document_is_on_one_side_in_order_and_about_the_share_is_held_out() -> None:
    table = _table(_texts(1_000))
    sides = split(table, 0.1)
    ids = [side["id"].to_pylist() for side in sides]
    assert sorted(ids[0] + ids[1]) == table["id"].to_pylist()
    assert all(each == sorted(each) for each in ids)
    assert 70 < len(ids[1]) < 130


def test_growing_the_corpus_moves_no_document() -> None:
    texts = _texts(400)
    before = set(split(_table(texts[:200]), 0.1).heldout["text"].to_pylist())
    after = set(split(_table(texts[::-1]), 0.1).heldout["text"].to_pylist())
    assert after & set(texts[:200]) == before
    assert split(_table(texts), 0.1, seed=1).heldout["text"].to_pylist() != sorted(after)


def test_documents_that_share_text_are_never_parted() -> None:
    source = random.Random(1)
    texts = []
    for _ in range(150):
        long = _words(source, 400)
        part = long[50:100] + _words(source, 60)  # half of it quotes the long one
        texts += [" ".join(long), " ".join(part)]
    heldout = set(split(_table(texts), 0.2).heldout["id"].to_pylist())
    assert heldout
    for pair in range(0, len(texts), 2):
        assert (f"{pair:05}" in heldout) == (f"{pair + 1:05}" in heldout)


@pytest.mark.parametrize(("count", "share"), [(1, 0.5), (3, 1e-9), (3, 0.999999), (0, 0.5)])
def test_an_empty_side_is_one_line(count: int, share: float) -> None:
    with pytest.raises(InputError, match="would be held out"):
        split(_table(_texts(count)), share)


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_outside_0_to_1_is_one_line(share: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        split(_table(_texts(5)), share)


def test_exact_and_reformatted_items_are_each_reported() -> None:
    texts = _texts(20)
    source = random.Random(9)
    question = " ".join(_words(source, 30))
    short = " ".join(_words(source, 9))
    shouted = question.upper().replace(" ", ",\n")
    texts[3] += " " + question + " " + texts[5]
    texts[7] = shouted
    texts[11] += f' "{short}" ' + texts[12]
    texts[13] = "Yes!"
    items = [Item("q", question), Item("s", short), Item("y", "yes"), Item("none", "never seen")]
    hits = {(hit.document, hit.item): hit.share for hit in find_hits(_table(texts), items)}
    assert hits == {
        ("00003", "q"): 1.0,
        ("00007", "q"): 1.0,
        ("00011", "s"): 1.0,
        ("00013", "y"): 1.0,
    }
    outcome = remove_contaminated(_table(texts), items)
    assert outcome.removed["id"].to_pylist() == ["00003", "00007", "00011", "00013"]
    assert outcome.removed["detail"][0].as_py().startswith("100% of q: ")


def test_a_short_item_inside_a_longer_text_is_no_hit() -> None:
    assert find_hits(_table(["Yes and no are words."]), [Item("y", "yes")]) == []


def test_a_shared_phrase_is_reported_and_removes_nothing() -> None:
    source = random.Random(2)
    phrase = _words(source, 15)
    item = Item("long", " ".join(_words(source, 200) + phrase))
    table = _table([" ".join(_words(source, 50) + phrase)])
    hits = find_hits(table, [item])
    assert [hit.document for hit in hits] == ["00000"]
    assert hits[0].share == pytest.approx(3 / 203)
    assert hits[0].words == " ".join(phrase[:13])
    assert remove_contaminated(table, [item]).removed.num_rows == 0


def test_no_items_hit_nothing() -> None:
    assert find_hits(_table(_texts(3)), []) == []
