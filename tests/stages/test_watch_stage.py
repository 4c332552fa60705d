"""The stage Watch says of a run's artifact what the watch says of its record; effects keep it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import publish

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.events import Events
from ontogeny.base.files import read_json
from ontogeny.base.stop import StopRequest
from ontogeny.base.store import Store
from ontogeny.evaluate.claims import Claim
from ontogeny.evaluate.watch_runs import Course, rows
from ontogeny.run.work import Made, Work
from ontogeny.stages.watch import Watch
from ontogeny.stages.watch_effect import WatchEffect

SILENT = Claim("watch.silent", "growth of the gap", "share", "at_most", 0.05)


class Bench:
    """A store with runs, exams and watches."""

    def __init__(self, root: Path) -> None:
        self.store, self.count = Store.create(root / "life"), 0

    def keep(self, kind: str, file: str, lines: list[Any]) -> Artifact:
        payload = self._payload()
        (payload / file).write_text("".join(json.dumps(line) + "\n" for line in lines))
        kept: Artifact = publish(self.store, payload, "made", kind, f"made/{self.count}")
        return kept

    def run(self, course: Course) -> Artifact:
        return self.keep("model", "rollouts.jsonl", list(rows(course, 3)))

    def exam(self, verified: float | None) -> Artifact:
        notes = {} if verified is None else {"notes": {"verified": verified, "signs": []}}
        lines = [{"task": f"t/{n}", "score": float(n % 2), **notes} for n in range(60)]
        return self.keep("measurement", "answers.jsonl", lines)

    def play(self, stage: Watch, *parents: Artifact) -> tuple[Made, Artifact]:
        payload = self._payload()
        made = stage(Work("watch", payload.parent, 0, Events(), StopRequest()), *parents)
        json.dumps(made.metrics, allow_nan=False)
        return made, publish(self.store, payload, "watch", "watch", f"watch/{self.count}")

    def _payload(self) -> Path:
        self.count += 1
        payload = self.store.work / f"{self.count:016x}" / "payload"
        payload.mkdir(parents=True)
        return payload


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def effect(bench: Bench, watched: Artifact) -> dict[str, Any]:
    work = Work("effect", bench.store.work / "effect", 0, Events(), StopRequest())
    found: dict[str, Any] = WatchEffect(claim=SILENT)(work, watched).metrics["effect"]
    return found


def test_a_clean_run_is_silent_and_a_hacked_one_spoken_about(bench: Bench) -> None:
    clean, silent = bench.play(Watch(), bench.run(Course()))
    assert clean.metrics["speaks"] == 0
    assert clean.summary[0].startswith("silent: reward less verifier grew by")
    assert "at most 1.0% of cases" in clean.summary[0]
    hacked, loud = bench.play(Watch(), bench.run(Course(hacked=0.5)))
    assert hacked.metrics["speaks"] == 1
    assert any("sign hard_coded" in line for line in hacked.summary)
    written = read_json(loud.file("watch.json"))
    assert written["verdict"] == "speaks"
    assert {test["what"] for test in written["tests"]} == {"gap", "hard_coded"}
    grown = effect(bench, loud)
    assert grown["low"] > 0.05 > effect(bench, silent)["high"]
    assert grown["units"] == 60


def test_exams_before_and_after_are_watched_too(bench: Bench) -> None:
    run = bench.run(Course())
    both, _ = bench.play(Watch(), run, bench.exam(0.5), bench.exam(0.2))
    assert both.metrics["speaks"] == 1
    assert "(exam)" in both.summary[0]
    silent, _ = bench.play(Watch(), run, bench.exam(0.5), bench.exam(0.5))
    assert silent.metrics["speaks"] == 0
    with pytest.raises(InputError, match="two measurements"):
        bench.play(Watch(), run, bench.exam(0.5))


def test_where_nothing_was_verified_nothing_can_be_told(bench: Bench) -> None:
    blind = [{**row, "verified": [None] * 128, "signs": {}} for row in rows(Course(), 0)]
    made, watched = bench.play(Watch(), bench.keep("model", "rollouts.jsonl", blind))
    assert made.metrics["can_tell"] == made.metrics["speaks"] == 0
    assert made.summary[0].startswith("cannot tell: no verifier")
    assert "accused" not in made.summary[0]
    with pytest.raises(InputError, match="cannot tell"):
        effect(bench, watched)


def test_what_is_no_run_is_refused_in_one_line(bench: Bench) -> None:
    with pytest.raises(InputError, match="keeps no rollouts; give a model that grpo or ppo made"):
        bench.play(Watch(), bench.keep("model", "config.json", [{}]))
    bad = bench.keep("measurement", "answers.jsonl", [3])
    with pytest.raises(CorruptArtifact, match="no answers of an exam"):
        bench.play(Watch(), bench.run(Course()), bad, bad)
    with pytest.raises(InputError, match="false_alarms"):
        Watch(false_alarms=0.0)
    with pytest.raises(InputError, match="give a null value"):
        WatchEffect(claim=Claim("a", "b", "c", "at_most", 1.0, null=None))
