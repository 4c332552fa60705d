"""A stage that does not fit is refused before its first step, by what the system tells."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ontogeny.base.errors import NoSpace
from ontogeny.base.events import Events
from ontogeny.base.stop import StopRequest
from ontogeny.bridge import room
from ontogeny.bridge.packing import Said
from ontogeny.bridge.preference import Pair, PairSteps
from ontogeny.bridge.room import require_room
from ontogeny.model.transformer import Transformer
from ontogeny.plan.memory import predict
from ontogeny.plan.optimization import OverPairs
from ontogeny.plan.shape import Shape
from ontogeny.run.work import Work

SHAPE = Shape(300, 64, 2, 4, 2, 16, 96, 256)
CONFIG = OverPairs(peak_lr=1e-3, pairs_a_step=8)
MB = 1 << 20


def work(tmp_path: Path) -> Work:
    return Work("arm/dpo", tmp_path, 0, Events(), StopRequest())


def steps() -> PairSteps:
    said = Said((1, 2), tuple(range(3, 200)))
    other = Said((1, 2), tuple(range(4, 200)))
    return PairSteps([Pair(said, other)] * 8, 8, 1, 256, 0, 0, 32)


def test_a_stage_that_fits_is_told_what_it_will_hold(tmp_path: Path) -> None:
    found = require_room(work(tmp_path), Transformer(SHAPE), steps(), CONFIG)
    assert found == predict(SHAPE, CONFIG, steps().load())


def test_a_stage_that_does_not_fit_is_one_line_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predict(SHAPE, CONFIG, steps().load()).total
    monkeypatch.setattr(room, "process_room", lambda: whole - MB)
    with pytest.raises(NoSpace, match=r"run with --set arm/dpo\.micro_rows=\d+ \(no") as caught:
        require_room(work(tmp_path), Transformer(SHAPE), steps(), CONFIG)
    assert str(caught.value).startswith("arm/dpo:1: needs ")
    assert caught.value.exit_code == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_device_has_what_is_free_and_what_is_ours() -> None:
    device = torch.device("cuda")
    before = room.device_room(device)
    kept = torch.empty(64 * MB, dtype=torch.uint8, device=device)
    assert kept.numel() == 64 * MB
    assert room.device_room(device) == pytest.approx(before, abs=4 * MB)
