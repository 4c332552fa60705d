"""What does not fit is refused with a remedy that can be pasted, and that fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ontogeny.base.config import override
from ontogeny.base.errors import NoSpace
from ontogeny.plan import room as planned
from ontogeny.plan.memory import Load, Memory, gigabytes, predict
from ontogeny.plan.optimization import OverTokens
from ontogeny.plan.room import largest_micro_rows, refusal, refuse, refuse_planned
from ontogeny.plan.shape import Shape

SHAPE = Shape(49152, 576, 30, 9, 3, 64, 1536, 8192, family="llama")
LOAD = Load(rows=32, width=1024)
GB = 10**9


def settings(**changes: Any) -> OverTokens:
    return OverTokens(peak_lr=1e-3, tokens=32768, batch_tokens=32768, **changes)


def of(**changes: Any) -> Memory:
    return predict(SHAPE, settings(**changes), LOAD)


def test_the_largest_micro_batch_fits_and_a_larger_one_does_not() -> None:
    for room in (7 * GB, 12 * GB, 30 * GB):
        rows = largest_micro_rows(SHAPE, settings(), LOAD, room)
        assert 1 <= rows < 32
        assert of(micro_rows=rows).total <= room < of(micro_rows=rows + 1).total
    assert largest_micro_rows(SHAPE, settings(), LOAD, 1 * GB) == 0
    assert largest_micro_rows(SHAPE, settings(), LOAD, 900 * GB) == 32


def test_what_fits_is_not_refused() -> None:
    assert refusal("sft", SHAPE, settings(), LOAD, of().total) is None
    refuse("sft", SHAPE, settings(), LOAD, of().total)


@pytest.mark.parametrize(
    ("room", "micro_rows", "words"),
    [
        (12 * GB, 32, ("micro_rows",)),
        (4 * GB, 32, ("micro_rows", "recompute")),
        (1.5 * GB, 32, ("micro_rows", "recompute", "adapter")),
        (3.4 * GB, 1, ("recompute",)),
        (2.5 * GB, 1, ("recompute", "adapter")),
    ],
)
def test_the_remedy_can_be_pasted_and_fits(
    room: float, micro_rows: int, words: tuple[str, ...]
) -> None:
    config = settings(micro_rows=micro_rows)
    with pytest.raises(NoSpace) as caught:
        refuse("sft", SHAPE, config, LOAD, room)
    line = str(caught.value)
    assert caught.value.exit_code == 4
    assert f"here are {gigabytes(room)}" in line
    told = line.split("; run with ")[1].removesuffix(" (no more rows fit)")
    for word, each in zip(words, told.removeprefix("--set ").split(" --set "), strict=True):
        path, _, value = each.partition("=")
        assert path == f"sft.{word}"
        config = override(config, (path.removeprefix("sft."), value.strip("'")))
    assert predict(SHAPE, config, LOAD).total <= room


def test_where_nothing_fits_it_says_so() -> None:
    line = refusal("sft", SHAPE, settings(), LOAD, 0.9 * GB)
    assert line is not None
    assert "even micro_rows=1 with recompute and an adapter needs" in line
    assert "smaller model" in line


def test_a_stage_that_knows_its_shape_is_refused_at_the_plan(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(planned, "ACCELERATOR", tmp_path / "none")
    monkeypatch.setattr(planned, "process_room", lambda: 8 * GB)
    config = settings(row_tokens=1024)
    with pytest.raises(NoSpace, match=r"--set base\.micro_rows=1 \(no more"):
        refuse_planned("base", SHAPE, config)
    refuse_planned("base", SHAPE, replace(config, micro_rows=1))
    refuse_planned("base", SHAPE, replace(config, device="cuda"))
    monkeypatch.setattr(planned, "ACCELERATOR", tmp_path)
    refuse_planned("base", SHAPE, config)
