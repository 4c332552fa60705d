"""Claims about the prose filter: vectorised measures equal plain ones; real prose passes."""

from __future__ import annotations

import random
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ontogeny.corpus.prose import QUALITY, REPETITION, filter_prose, measure
from ontogeny.corpus.repetition import REPEATED_LIMITS, TOP_LIMITS
from ontogeny.corpus.table import documents_table
from ontogeny.environments.words import WORDS
from ontogeny.text.document import Document

SMALL = ("the", "of", "to", "and", "that", "be", "with", "in", "on", "is", "was", "from")


def _table(*texts: str):  # type: ignore[no-untyped-def]
    return documents_table(
        Document(f"{n:04}", "english", "made", text) for n, text in enumerate(texts)
    )


def _prose(seed: int, sentences: int = 30) -> str:
    source = random.Random(seed)
    lines = []
    for _ in range(sentences):
        small = source.choices(SMALL, k=5)
        words = [word for pair in zip(small, source.sample(WORDS, 5), strict=True) for word in pair]
        lines.append(" ".join(words).capitalize() + ".")
    return "\n".join(" ".join(lines[at : at + 5]) for at in range(0, sentences, 5))


def _repeated(words: list[str], text: str, n: int) -> float:
    """Share of bytes of words inside n-grams that stood before, the plain way."""
    seen: set[tuple[str, ...]] = set()
    covered = np.zeros(len(words), bool)
    for at in range(len(words) - n + 1):
        gram = tuple(words[at : at + n])
        if gram in seen:
            covered[at : at + n] = True
        seen.add(gram)
    size = sum(len(w.encode()) for w, inside in zip(words, covered, strict=True) if inside)
    return size / len(text.encode())


def _top(words: list[str], text: str, n: int) -> float:
    grams = Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1))
    most = max(grams.values(), default=0)
    if most < 2:
        return 0.0
    longest = max(len(" ".join(gram).encode()) for gram, c in grams.items() if c == most)
    return most * longest / len(text.encode())


repetitive = st.lists(
    st.sampled_from(["a", "bé", "the", "of", "x1", "--", "...", "a......", "#", "…"]), max_size=60
).map(" ".join)


@settings(max_examples=150)
@given(st.lists(repetitive, min_size=1, max_size=4))
def test_the_fast_measures_equal_the_plain_ones(texts: list[str]) -> None:
    measures = measure(_table(*texts))
    for row, text in enumerate(texts):
        words = text.split()
        assert measures["words"][row] == len(words)
        dots = text.count("...") + text.count("…")
        assert measures["ellipses_per_word"][row] == pytest.approx(dots / max(len(words), 1))
        assert measures["hashes_per_word"][row] == text.count("#") / max(len(words), 1)
        letters = sum(any(c.isalpha() or c == "…" for c in word) for word in words)
        assert measures["words_with_a_letter"][row] == letters / max(len(words), 1)
        assert measures["stop_words"][row] == len({"the", "of"} & set(words))
        mean = sum(map(len, words)) / max(len(words), 1)
        assert measures["mean_word_length"][row] == pytest.approx(mean)
        for n, limit in REPEATED_LIMITS.items():
            plain, fast = _repeated(words, text or " ", n), measures[f"repeated_{n}grams"][row]
            # The fast way leaves a measure at 0 when a bound shows that it is within its limit.
            assert fast == pytest.approx(plain) or (fast == 0 and plain <= limit)
        for n, limit in TOP_LIMITS.items():
            plain, fast = _top(words, text or " ", n), measures[f"top_{n}gram"][row]
            assert fast == pytest.approx(plain) or (fast == 0 and plain <= limit)


def test_lines_that_come_again_are_measured() -> None:
    text = "one two\nthree four\none two\n\none two"
    measures = measure(_table(text))
    assert measures["repeated_lines"][0] == 0.5
    assert measures["repeated_lines_bytes"][0] == 2 * len("one two") / len(text)
    assert measures["repeated_paragraphs"][0] == 0


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("too_short", "The end of the story."),
        ("word_length", _prose(1).replace(" ", "-", 220)),
        ("hashes", "# ".join(_prose(2).split(" "))),
        ("ellipses", "... ".join(_prose(3).split(" "))),
        ("bullet_lines", "\n".join("- " + line for line in re.split(r"[.\n]+", _prose(4)) if line)),
        ("ellipsis_lines", re.sub(r"\.(\n|$)", "...\n", _prose(5))),
        ("few_letters", re.sub(r"(?i)\b(is|was|from|in|on|that|with|be)\b", "1234", _prose(6))),
        ("few_stop_words", re.sub(r"(?i)\b(the|of|to|and|that|be|with)\b", "la", _prose(7))),
        ("repeated_lines", _prose(8, 5) + ("\n" + _prose(9, 5)) * 4),
        ("repeated_5grams", " ".join([_prose(10, 6).replace("\n", " ")] * 2)),
    ],
)
def test_each_rule_removes_what_it_is_for(reason: str, text: str) -> None:
    outcome = filter_prose(_table(_prose(99), text))
    assert outcome.kept["id"].to_pylist() == ["0000"]
    assert outcome.removed["reason"].to_pylist() == [reason]
    assert re.search(r"is (below|above) [0-9.]+$", outcome.removed["detail"][0].as_py())


def test_a_document_is_judged_alike_among_any_neighbours() -> None:
    texts = [_prose(seed, 6 + seed % 30) for seed in range(40)] + ["x " * 60, "", "é"]
    together = measure(_table(*texts))
    for row, text in enumerate(texts):
        alone = measure(_table(text))
        for name in {limit.measure for limit in QUALITY + REPETITION}:
            assert alone[name][0] == together[name][row]


def test_an_empty_table_passes() -> None:
    assert filter_prose(_table()).kept.num_rows == 0
