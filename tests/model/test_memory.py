"""Large pages are asked for and change no number."""

import sys

import pytest
import torch

from ontogeny.model.memory import prefer_large_pages


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="madvise is Linux's")
def test_large_pages_are_asked_for_where_a_whole_one_fits():
    wide, narrow = torch.empty(4 << 20), torch.empty(1 << 10)
    assert prefer_large_pages(wide.data_ptr(), wide.nbytes)
    assert not prefer_large_pages(narrow.data_ptr(), narrow.nbytes)
    assert not wide.zero_().any()
