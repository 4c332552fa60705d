"""Claims about duplicates: found as the formula says, the first by id stays, on any machine."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.corpus.exact import remove_exact
from ontogeny.corpus.minhash import (
    clusters,
    probability_found,
    remove_near,
    shingles,
    signatures,
)
from ontogeny.corpus.table import documents_table
from ontogeny.corpus.words import BY_LETTERS, cut, hash_words
from ontogeny.text.document import Document


def _table(texts: list[str]) -> pa.Table:
    return documents_table(Document(f"{n:05}", "english", "made", t) for n, t in enumerate(texts))


def _words(source: random.Random, count: int) -> list[str]:
    return [f"w{source.randrange(10**6)}" for _ in range(count)]


def _jaccard(a: str, b: str) -> float:
    hash_N, first = shingles(pa.array([a, b]))
    left, right = set(hash_N[: first[1]].tolist()), set(hash_N[first[1] :].tolist())
    return len(left & right) / len(left | right)


def test_recall_on_planted_near_duplicates_is_what_the_formula_predicts() -> None:
    source = random.Random(5)
    texts, expected, found = [], [], []
    for _ in range(1_500):
        words = _words(source, 200)
        copy = list(words)
        for _ in range(source.randrange(2, 14)):
            copy[source.randrange(len(copy))] = f"new{source.randrange(10**6)}"
        texts += [" ".join(words), " ".join(copy)]
    label = clusters(signatures(_table(texts)))
    for pair in range(0, len(texts), 2):
        expected.append(probability_found(_jaccard(texts[pair], texts[pair + 1])))
        found.append(label[pair + 1] == label[pair])
        assert label[pair] == pair, "unrelated documents were joined"
    share = np.array(expected)
    spread = np.sqrt((share * (1 - share)).sum())
    assert 0.1 < share.mean() < 0.9
    assert abs(np.sum(found) - share.sum()) < 4 * spread


def test_the_first_by_id_stays_whatever_the_order_of_the_rows() -> None:
    source = random.Random(3)
    base = " ".join(_words(source, 300))
    rows = [Document(name, "english", "made", base + " " + name) for name in ("c", "a", "b")]
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        outcome = remove_near(documents_table(rows[n] for n in order))
        assert outcome.kept["id"].to_pylist() == ["a"]
        assert all(d.startswith("near a,") for d in outcome.removed["detail"].to_pylist())


def test_case_punctuation_and_layout_hide_no_duplicate() -> None:
    text = " ".join(_words(random.Random(4), 100))
    shouted = "“" + ", ".join(text.upper().split(" ")) + "!”"
    assert remove_near(_table([text, shouted])).kept.num_rows == 1


def test_ten_thousand_copies_leave_one() -> None:
    text = " ".join(_words(random.Random(6), 50))
    outcome = remove_near(_table([text] * 10_000))
    assert outcome.kept["id"].to_pylist() == ["00000"]
    outcome = remove_exact(_table([text, text + " \n"] * 5_000))
    assert outcome.kept["id"].to_pylist() == ["00000"]
    assert set(outcome.removed["detail"].to_pylist()) == {"equals 00000"}


def test_short_and_wordless_texts_match_only_themselves() -> None:
    texts = ["one two", "one three", "!!!", "???", "", "One, two.", "!!!"]
    assert remove_near(_table(texts)).kept["id"].to_pylist() == [f"0000{n}" for n in range(5)]


def test_a_document_with_a_long_run_of_duplicates_in_a_chain_forms_one_cluster() -> None:
    source = random.Random(8)
    words = _words(source, 2_000)
    chain = [" ".join(words[10 * k : 10 * k + 1_000]) for k in range(100)]
    assert set(clusters(signatures(_table(chain)))) == {0}


@given(st.lists(st.text(max_size=30), max_size=6))
def test_words_are_hashed_alike_in_any_company(texts: list[str]) -> None:
    together = cut(pa.array(texts, pa.string()), BY_LETTERS)
    hashes = hash_words(together).tolist()
    alone = []
    for text in texts:
        alone += hash_words(cut(pa.array([text], pa.string()), BY_LETTERS)).tolist()
    assert hashes == alone


def test_words_that_differ_anywhere_differ_in_hash() -> None:
    words = ["a" * n for n in range(1, 200)] + ["a" * 70 + c + "a" * 70 for c in "bcd"]
    hashes = hash_words(cut(pa.array([" ".join(words)]), BY_LETTERS))
    assert len(set(hashes.tolist())) == len(words)


def test_signatures_do_not_depend_on_the_process() -> None:
    program = (
        "from ontogeny.corpus.minhash import signatures\n"
        "from ontogeny.corpus.table import documents_table\n"
        "from ontogeny.text.document import Document\n"
        "texts = ['one two three four five six', '!!!', 'x']\n"
        "rows = [Document(str(n), 'd', 's', t) for n, t in enumerate(texts)]\n"
        "print(signatures(documents_table(rows)).sum())\n"
    )
    sums = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(sums) == 1
