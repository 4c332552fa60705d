"""A crowd that uses a served model leaves the same bits each time, and nothing of who it is."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.bench import Bench, lines, sometimes_right
from support.served_users import CROWD, STAGE

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.events import Events
from ontogeny.base.stop import StopRequest
from ontogeny.bridge.models import save_model
from ontogeny.feedback.exchange import EXCHANGES, RATINGS, read_export
from ontogeny.feedback.ledger import Ledger
from ontogeny.run.work import Work
from ontogeny.stages.harvest import Harvest
from ontogeny.stages.traffic import LEDGER, in_order, post

SCRIPT = Path(__file__).parents[1] / "support" / "served_users.py"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def parent(bench: Bench, *, chats: bool = True, context: int = 256) -> Artifact:
    save_model(bench.payload(), sometimes_right(context), bench.tokenizer, chats=chats)
    return bench.keep("sft", "model")


def directory(root: Path) -> Path:
    (root / "payload").mkdir(parents=True)
    return root


def alone(bench: Bench, model: Artifact, where: Path, *options: object) -> int:
    """The exit code of the stage in a process of its own."""
    words = [sys.executable, str(SCRIPT), str(bench.store.root), model.id, str(where)]
    done = subprocess.run(
        [*words, *map(str, options)], capture_output=True, check=False, timeout=300
    )
    assert done.returncode in (0, 75, -signal.SIGKILL), done.stderr.decode()
    return done.returncode


def payload(where: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (where / "payload").iterdir()}


def test_the_same_crowd_leaves_the_same_bits(bench: Bench) -> None:
    model = parent(bench)
    first, said = bench.play(STAGE, model, seed=3)
    again, _ = bench.play(STAGE, model, seed=3)
    assert first.record.files == again.record.files
    assert said.metrics["exchanges"] == said.metrics["requests"] == 15
    assert said.metrics["ratings"] > 5
    assert (
        sum(said.metrics[each] for each in ("preferred", "score", "correction"))
        == (said.metrics["ratings"])
    )
    other, _ = bench.play(STAGE, model, seed=4)
    assert other.record.files[EXCHANGES] != first.record.files[EXCHANGES]


def test_what_is_published_is_what_the_ledger_holds(bench: Bench, tmp_path: Path) -> None:
    work = Work("played", directory(tmp_path / "by-hand"), 3, Events(), StopRequest())
    model = parent(bench)
    STAGE(work, model)
    with Ledger.read(work.directory / "ledger" / LEDGER) as ledger:
        exchanges, ratings = ledger.rows()
    assert all(each.at > 0 for each in [*exchanges, *ratings])
    made, _ = bench.play(STAGE, model, seed=3)
    assert (made.path / EXCHANGES).read_bytes() == (work.payload / EXCHANGES).read_bytes()
    assert read_export(made) == in_order(exchanges, ratings)


def test_nothing_tells_who_asked_or_what_is_liked(bench: Bench) -> None:
    made, _ = bench.play(STAGE, parent(bench), seed=3)
    text = "".join((made.path / name).read_text() for name in (EXCHANGES, RATINGS))
    assert not [each for each in ("user-0", "spam", "hostile", CROWD.taste) if f'"{each}' in text]
    users = {row["user"] for row in lines(made, EXCHANGES)}
    assert all(len(each) == 16 for each in users)
    assert {row["user"] for row in lines(made, RATINGS)} <= users


def test_every_rating_is_about_the_user_s_own_exchange(bench: Bench) -> None:
    made, _ = bench.play(STAGE, parent(bench), seed=3)
    exchanges, ratings = read_export(made)
    asked = {each.id: each.user for each in exchanges}
    assert all(asked[each.exchange] == each.user for each in ratings)
    assert all(len(each.answers) == 2 for each in exchanges)


def test_what_is_harvested_of_it_holds_no_personal_data(bench: Bench) -> None:
    crowd = replace(CROWD, private=1.0, suggested=0.0)
    traffic, _ = bench.play(replace(STAGE, crowd=crowd), parent(bench), seed=3)
    said = (traffic.path / EXCHANGES).read_text()
    assert "@example." in said
    assert "202 555" in said
    made, told = bench.play(Harvest(), traffic)
    assert told.metrics["kept.pairs"] > 0
    rows = (made.path / "pairs.jsonl").read_text() + (made.path / "conversations.jsonl").read_text()
    assert "@example" not in rows
    assert "202 555" not in rows


def test_a_killed_crowd_begins_again_and_leaves_the_same_bits(bench: Bench, tmp_path: Path) -> None:
    model = parent(bench)
    killed, whole = directory(tmp_path / "killed"), directory(tmp_path / "whole")
    assert alone(bench, model, killed, signal.SIGKILL.value, 9) == -signal.SIGKILL
    assert (killed / "ledger" / LEDGER).exists()
    assert not payload(killed)
    assert alone(bench, model, killed) == 0
    assert alone(bench, model, whole) == 0
    assert payload(killed) == payload(whole) != {}


def test_a_crowd_that_is_told_to_stop_stops(bench: Bench, tmp_path: Path) -> None:
    where = directory(tmp_path / "stopped")
    assert alone(bench, parent(bench), where, signal.SIGTERM.value, 9) == 75
    assert not payload(where)


def test_a_model_that_does_not_chat_is_refused(bench: Bench) -> None:
    with pytest.raises(InputError, match="has not learnt to chat"):
        bench.play(STAGE, parent(bench, chats=False))


def test_a_question_without_room_is_refused_by_name(bench: Bench) -> None:
    with pytest.raises(InputError, match=r"the server refused .* shorten"):
        bench.play(STAGE, parent(bench, context=16))


def test_numbers_that_cannot_be_meant_are_refused() -> None:
    for wrong in ({"max_tokens": 0}, {"temperature": 0.0}, {"temperature": 3.0}):
        with pytest.raises(InputError, match="max_tokens is at least 1"):
            replace(STAGE, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no environment"):
        replace(STAGE, crowd=replace(CROWD, tasks=("riddles",)))


def test_a_server_that_is_gone_is_told() -> None:
    with pytest.raises(InputError, match="does not answer"):
        post(1, "/v1/models", {})
