"""A second model is loaded only where there is room for it beside the one that answers."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from support.releases import model_of

from ontogeny.base.errors import NoSpace
from ontogeny.base.room import spare_room
from ontogeny.base.store import Store
from ontogeny.bridge import require_room_beside


def test_what_has_no_room_is_one_line_that_names_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.create(tmp_path / "life")
    model = model_of(store, 1, "A")
    require_room_beside(model, 4, None)
    status = Path("/proc/self/status").read_text()
    addressed = int(status.split("VmSize:")[1].split()[0]) * 1024
    limit = addressed + (2 << 20)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert (spare_room() or 0) <= 2 << 20
    require_room_beside(model, 1, 16)
    with pytest.raises(NoSpace, match=r"a second model needs [\d.]+ GB beside .* are free; serve"):
        require_room_beside(model, 100_000, None)


def test_what_torch_keeps_of_a_model_that_has_ended_is_room_on_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a rollback would be refused after each switch: the driver calls that memory taken."""
    model = model_of(Store.create(tmp_path / "life"), 1, "A")
    kept = 1 << 30
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (0, 2 * kept))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: 2 * kept)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda *_: kept)
    require_room_beside(model, 4, None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda *_: 2 * kept)
    with pytest.raises(NoSpace, match=r"0\.0+ GB are free"):
        require_room_beside(model, 4, None)
