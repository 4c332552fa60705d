"""Models and measurements of them, as records say they belong together, for a gate to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ontogeny.base.artifact import Artifact, Record, describe_files
from ontogeny.base.config import to_dict
from ontogeny.base.events import Events
from ontogeny.base.stop import StopRequest
from ontogeny.base.store import Store
from ontogeny.evaluate.series import Series, write_series
from ontogeny.run.work import Made, Work
from ontogeny.stages.gate import Gate

_PLAIN = Record("", "", "", "", 1, {}, [], 0, {}, [], {}, {}, "c", {})


def scores(values: Sequence[float], weights: Sequence[float] = ()) -> Series:
    """Units task/0, task/1, ... of weight 1 unless told."""
    units = [f"task/{number}" for number in range(len(values))]
    return Series(units, values, weights or [1.0] * len(values))


class Scales:
    """A store with models, their measurements and a gate."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store.create(root / "life")
        self.count = 0

    def _keep(self, payload: Path, **told: Any) -> Artifact:
        record = replace(_PLAIN, id=payload.parent.name, files=describe_files(payload), **told)
        return self.store.publish(record)

    def _payload(self) -> Path:
        self.count += 1
        payload = self.store.work / f"{self.count:016x}" / "payload"
        payload.mkdir(parents=True)
        return payload

    def model(self, name: str) -> Artifact:
        """A model of which nothing is known but its name."""
        payload = self._payload()
        (payload / "weights").write_text(name)
        return self._keep(payload, name=name, kind="model", stage="sft")

    def measured(self, model: Artifact, series: Mapping[str, Series], **told: Any) -> Artifact:
        """What was measured of a model; `told` are further fields of its record."""
        payload = self._payload()
        write_series(payload, series)
        known = {"name": f"{model.name}/measured", "kind": "measurement", "stage": "measure"}
        return self._keep(payload, **{**known, "parents": [model.id], **told})

    def gate(self, stage: Gate, *parents: Artifact) -> tuple[Artifact, Made]:
        """The gate's word, published as a run would."""
        payload = self._payload()
        made = stage(Work("gate", payload.parent, 0, Events(), StopRequest()), *parents)
        ids = [each.id for each in parents]
        told = {"name": "gate", "kind": stage.makes, "stage": stage.stage, "parents": ids}
        return self._keep(payload, **told, metrics=made.metrics, config=to_dict(stage)), made

    @staticmethod
    def resealed(artifact: Artifact) -> Artifact:
        """The artifact with a record of the files as they are now, as a forger would write it."""
        files = describe_files(artifact.path)
        files.pop("record.json", None)
        return Artifact(artifact.path, replace(artifact.record, files=files))
