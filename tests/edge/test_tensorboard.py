"""Progress reaches TensorBoard as scalars named stage/number."""

from pathlib import Path

import pytest

from ontogeny.base.events import Events

pytest.importorskip("tensorboard")
sink = pytest.importorskip("ontogeny.edge.tensorboard")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_progress_becomes_scalars(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = Events([sink.TensorBoard(tmp_path)])
    events.log("began", stage="base")
    events.progress("base", 0, 2, "steps", loss=3.0)
    events.progress("base", 2, 2, "steps", loss=1.5, lr=0.1)
    events.close()
    read = accumulator.EventAccumulator(str(tmp_path))
    read.Reload()
    assert [(s.step, s.value) for s in read.Scalars("base/loss")] == [(0, 3.0), (2, 1.5)]
    assert set(read.Tags()["scalars"]) == {"base/loss", "base/lr"}
