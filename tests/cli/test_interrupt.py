"""kill -9, SIGTERM and a full disk at any point of any stage: the same command ends with the
bytes of an undisturbed run."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SUPPORT, TinyLife, payloads

pytestmark = pytest.mark.interrupt

GRADIENT = ("base", "more", "long", "sft", "wash", "dpo", "grpo", "reward", "ppo", "candidate")
STAGES = (
    *("corpus", "tokenizer", "tokens", "xz", "base", "base-bpb", "effect", "needles"),
    *("conversations", "more", "long", "sft", "wash", "pairs", "dpo", "grpo"),
    *("measure/dpo", "measure/grpo", "drift", "compare", "samples"),
    *("reward", "ppo", "rewards", "watch", "played", "lessons", "contrasts", "safety"),
    *("labels", "revisions", "attacks", "repairs", "attacked"),
    *("traffic", "harvest", "votes/pairs", "votes/talks", "candidate", "planted", "memory"),
    *("liked/candidate", "liked/released", "gate", "promoted", "serving"),
    *("own/chats", "own/pairs", "own/tasks", "own/prefers", "own/exam", "release"),
)
KILLS_A_STAGE, KILLS_A_SHORT_STAGE = 5, 2


def test_every_stage_of_the_tiny_life_is_named_here(finished: Path) -> None:
    events = [json.loads(line) for line in (finished / "events.jsonl").read_text().splitlines()]
    assert tuple(event["stage"] for event in events if event["event"] == "began") == STAGES
    steps = {event["stage"] for event in events if event.get("unit") == "steps" and "loss" in event}
    assert steps == set(GRADIENT)


def made_until(finished: Path, stage: str, store: Path) -> dict[str, str]:
    """A copy of the undisturbed store in which `stage` and what follows has not been made yet."""
    shutil.copytree(finished, store)
    for record in list(store.glob("artifacts/*/record.json")):
        name = json.loads(record.read_text())["name"]
        if STAGES.index(name) >= STAGES.index(stage):
            shutil.rmtree(record.parent)
            (store / "names" / f"{name}.json").unlink()
    (store / "events.jsonl").unlink()
    return payloads(store)


def expected(finished: Path, last: str) -> dict[str, str]:
    """The undisturbed bytes of every stage up to `last`."""
    names = tuple(f"{name}/" for name in STAGES[: STAGES.index(last) + 1])
    return {file: sha for file, sha in payloads(finished).items() if file.startswith(names)}


def stage_seconds(store: Path) -> dict[str, float]:
    """How long each stage of the undisturbed run took."""
    records = [json.loads(path.read_text()) for path in store.glob("artifacts/*/record.json")]
    return {record["name"]: record["cost"]["seconds"] for record in records}


def events_of(store: Path, seen: int = 0) -> list[dict[str, object]]:
    """The whole lines of the events behind the first `seen` bytes."""
    events = store / "events.jsonl"
    lines = events.read_text()[seen:].splitlines(keepends=True) if events.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def wait_for(
    process: subprocess.Popen[str], store: Path, stage: str, seen: int, kind: str = "began"
) -> bool:
    """Waits for an event of `stage` behind `seen` bytes; False when the run ends first."""
    while process.poll() is None:
        events = events_of(store, seen)
        if any(event.get("stage") == stage and event["event"] == kind for event in events):
            return True
        time.sleep(0.002)
    return False


def crowded() -> float:
    """How many processes share a core; 1 on a machine that is free."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


@pytest.mark.parametrize("stage", STAGES)
def test_kill_at_random_points_changes_no_byte(
    life: TinyLife, finished: Path, tmp_path: Path, stage: str
) -> None:
    draw = random.Random(stage)
    store = tmp_path / "life"
    made_until(finished, stage, store)
    seconds = stage_seconds(finished)[stage]
    for _ in range(KILLS_A_STAGE if stage in GRADIENT else KILLS_A_SHORT_STAGE):
        events = store / "events.jsonl"
        seen = len(events.read_text()) if events.exists() else 0
        process = life.start(store, "--until", stage)
        if not wait_for(process, store, stage, seen):
            finish(process)
            break  # an earlier kill came after the rename: the stage was already published
        time.sleep(draw.uniform(0, seconds))
        process.kill()
        finish(process)
    done = life.run(store, "--until", stage)
    assert done.returncode == 0, done.stderr
    assert payloads(store) == expected(finished, stage)
    assert not list((store / "work").iterdir())


def test_kill_during_recovery_changes_no_byte(
    life: TinyLife, finished: Path, tmp_path: Path
) -> None:
    store = tmp_path / "life"
    draw = random.Random(0)
    for _ in range(5):
        process = life.start(store)
        time.sleep(draw.uniform(0.2, 3.0))
        process.kill()
        finish(process)
    assert life.run(store).returncode == 0
    assert payloads(store) == payloads(finished)


SIGNALS = [*((stage, signal.SIGTERM) for stage in GRADIENT), ("base", signal.SIGINT)]


@pytest.mark.parametrize(("stage", "number"), SIGNALS)
def test_a_signal_in_training_checkpoints_exits_75_and_resumes(
    life: TinyLife, finished: Path, tmp_path: Path, stage: str, number: int
) -> None:
    store = tmp_path / "life"
    made_until(finished, stage, store)
    process = life.start(store, "--until", stage)
    assert wait_for(process, store, stage, 0, "progress")
    began = time.monotonic()
    process.send_signal(number)
    code, errors = finish(process)
    assert time.monotonic() - began < 10 * crowded()
    assert code == 75
    assert errors.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in errors
    assert len(list(store.glob("work/*/checkpoints/step-*/complete.json"))) >= 1
    done = life.run(store, "--until", stage)
    assert done.returncode == 0
    assert "resumes at step" in done.stderr
    assert payloads(store) == expected(finished, stage)


def test_kill_between_rollout_and_update_changes_no_byte(
    life: TinyLife, finished: Path, tmp_path: Path
) -> None:
    """What was sampled and never learnt is sampled again, after the first rollout and the last."""
    store = tmp_path / "life"
    made_until(finished, "grpo", store)
    mortal = replace(life, recipe=SUPPORT / "mortal_life.py")
    steps = 8
    for step in (1, 3, 6, steps):
        environment = {**life.environment, "PYTHONPATH": str(SUPPORT)}
        died = subprocess.run(
            mortal.command(store, "--until", "grpo"),
            env={**environment, "DIES_AFTER_ROLLOUT": str(step)},
            capture_output=True,
            check=False,
        )
        assert died.returncode == -signal.SIGKILL, died.stderr
    done = life.run(store, "--until", "grpo")
    assert done.returncode == 0, done.stderr
    assert payloads(store) == expected(finished, "grpo")
    (record,) = [
        record
        for path in store.glob("artifacts/*/record.json")
        if (record := json.loads(path.read_text()))["name"] == "grpo"
    ]
    assert record["metrics"]["steps"] == steps


def test_another_thread_count_is_said_when_a_stage_is_resumed(
    life: TinyLife, finished: Path, tmp_path: Path
) -> None:
    store = tmp_path / "life"
    made_until(finished, "base", store)
    process = life.start(store, "--until", "base")
    assert wait_for(process, store, "base", 0, "progress")
    process.terminate()
    assert finish(process)[0] == 75
    environment = {**life.environment, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        life.command(store, "--until", "base"),
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert "threads: 1 -> 2" in done.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_ends_with_4_and_loses_nothing(
    life: TinyLife, finished: Path, tmp_path: Path, stage: str
) -> None:
    """RLIMIT_FSIZE makes each write beyond a size fail with EFBIG, at three sizes a stage."""
    draw = random.Random(stage)
    store = tmp_path / "life"
    earlier = made_until(finished, stage, store)
    largest = max(
        path.stat().st_size
        for record in finished.glob("artifacts/*/record.json")
        if json.loads(record.read_text())["name"] == stage
        for path in record.parent.iterdir()
        if path.is_file()
    )
    for _ in range(3):
        limit = draw.randrange(0, largest)
        done = subprocess.run(
            life.command(store, "--until", stage),
            env=life.environment,
            text=True,
            capture_output=True,
            check=False,
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1)),
        )
        assert done.returncode == 4, (limit, largest, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: ")
        assert payloads(store) == earlier
    assert life.run(store, "--until", stage).returncode == 0
    assert payloads(store) == expected(finished, stage)
