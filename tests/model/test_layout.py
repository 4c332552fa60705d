"""What one stream keeps, a later one sees; what stands side by side is not copied."""

import torch

from ontogeny.model.layout import Seen, Stem

ROWS = torch.arange(24.0).view(6, 2, 2)


def test_neighbouring_rows_are_a_view():
    seen = Seen(0, ((1, 4),)).of(None, ROWS)
    assert torch.equal(seen, ROWS[1:4])
    assert seen.data_ptr() == ROWS[1].data_ptr()


def test_a_chain_begins_with_what_was_kept():
    kept = -ROWS
    seen = Seen(2, ((0, 1), (4, 6))).of(kept, ROWS)
    assert torch.equal(seen, torch.cat([kept[:2], ROWS[:1], ROWS[4:]]))


def test_a_stem_hands_the_kept_rows_of_a_layer_to_its_next_stream_alone():
    stem = Stem()
    stem.keep = Seen(0, ((0, 2),))
    assert stem.exchange("first", ROWS, -ROWS) == (None, None)
    stem.keep = Seen(1, ((3, 4),))
    keys, values = stem.exchange("first", ROWS + 100, ROWS)
    assert torch.equal(keys, ROWS[:2])
    assert torch.equal(values, -ROWS[:2])
    stem.keep = Seen(0, ())
    assert stem.exchange("second", ROWS, ROWS) == (None, None)
    keys, values = stem.exchange("first", ROWS, ROWS)
    assert torch.equal(keys, torch.cat([ROWS[:1], ROWS[3:4] + 100]))
    assert stem.exchange("first", ROWS, ROWS) == (None, None)
