"""A ledger becomes a harvest, a harvest becomes what DPO, RewardModel and SFT read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from feedback.votes import Traffic, user
from support.bench import Bench, lines, small_tokenizer

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.bridge.comparisons import comparisons
from ontogeny.bridge.preference import HELDOUT, PAIRS, read_pairs
from ontogeny.corpus.shards import read_shard
from ontogeny.feedback.exchange import write_export
from ontogeny.feedback.ledger import Ledger
from ontogeny.run.request import request
from ontogeny.stages.feedback_conversations import FeedbackConversations
from ontogeny.stages.feedback_pairs import FeedbackPairs
from ontogeny.stages.harvest import Harvest
from ontogeny.stages.load_conversations import LoadConversations
from ontogeny.stages.load_pairs import LoadPairs
from ontogeny.stages.load_tasks import LoadTasks
from ontogeny.text.message import Message
from ontogeny.text.template import render


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def ledger(bench: Bench, traffic: Traffic, name: str = "ledger.db") -> Path:
    """A ledger that holds the traffic."""
    path = bench.root / name
    with Ledger.open(path, secret=b"s" * 32) as made:
        made.add(traffic.exchanges, traffic.ratings)
    return path


def busy(first: int = 0, count: int = 40) -> Traffic:
    """Each user prefers an answer, likes one and corrects one."""
    traffic = Traffic()
    for n in range(first, first + count):
        traffic.said(user(n), f"Which is better, {n}?", f"This {n}.", f"That {n}.", preferred=0)
        traffic.said(user(n), f"Is {n} nice?", f"Yes, {n}.", score=1.0)
        traffic.said(user(n), f"Spell {n}.", f"Wrong {n}.", correction=f"Right {n}.")
    return traffic


def exported(bench: Bench, traffic: Traffic) -> Artifact:
    write_export(bench.payload(), traffic.exchanges, traffic.ratings)
    return bench.keep("traffic", "traffic")


def identity(stage: Harvest, parents: Sequence[Artifact] = ()) -> str:
    kinds = tuple((each.id, each.record.kind) for each in parents)
    return request(stage, kinds, name="h", seed=0, settings=[]).id


def content(artifact: Artifact) -> dict[str, str]:
    return {name: each["sha256"] for name, each in artifact.record.files.items()}


def test_a_harvest_is_of_what_the_ledger_holds_wherever_it_lies(bench: Bench) -> None:
    one, other = ledger(bench, busy()), ledger(bench, busy(), "moved.db")
    stages = [Harvest(ledger=str(path)) for path in (one, other)]
    assert identity(stages[0]) == identity(stages[1])
    made = [bench.play(stage)[0] for stage in stages]
    assert content(made[0]) == content(made[1])
    with Ledger.open(one) as more:
        more.add(*_extra())
    assert identity(Harvest(ledger=str(one))) != identity(stages[1])
    assert identity(Harvest(ledger=str(one), until=240)) == identity(stages[1])
    assert identity(Harvest(ledger=str(one), copies=1)) != identity(Harvest(ledger=str(one)))


def _extra() -> tuple[Any, Any]:
    more = busy(90, 1)
    return more.exchanges, more.ratings


def test_a_ledger_and_its_export_give_the_same_rows(bench: Bench) -> None:
    traffic = busy()
    kept, told = bench.play(Harvest(ledger=str(ledger(bench, traffic))))
    export, _ = bench.play(Harvest(), exported(bench, traffic))
    for name in ("conversations.jsonl", "pairs.jsonl", "people.json", "removed.parquet"):
        assert content(kept)[name] == content(export)[name]
    assert told.metrics["kept.pairs"] == 80 == told.metrics["kept.conversations"]
    assert told.metrics["until"] == 240 and told.metrics["users.rating"] == 40
    assert told.summary[0] == (
        "80 conversations and 80 preference pairs from 120 ratings by 40 users; "
        "120 of 120 exchanges were rated"
    )
    twice, _ = bench.play(Harvest(), exported(bench, traffic), exported(bench, traffic))
    assert content(twice) == content(export)


def test_a_round_learns_what_no_round_before_it_did(bench: Bench) -> None:
    path = ledger(bench, busy())
    first, told = bench.play(Harvest(ledger=str(path)))
    with Ledger.open(path) as more:
        more.add(*_extra())
    second, _ = bench.play(Harvest(ledger=str(path), since=int(told.metrics["until"])))
    old, new = ({row["id"] for row in lines(each, "pairs.jsonl")} for each in (first, second))
    assert len(new) == 2 and not old & new
    again, told = bench.play(Harvest(ledger=str(path), since=246))
    assert "from 0 new ratings and 123 older ones by 41 users" in told.summary[0]
    assert not lines(again, "pairs.jsonl") and not lines(again, "conversations.jsonl")


def test_after_a_user_is_forgotten_the_next_harvest_has_nothing_of_them(bench: Bench) -> None:
    traffic = busy()
    secret = "The name of my cat is Zanzibar."
    traffic.said(user(500), secret, "Nice.", "Fine.", preferred=0)
    traffic.said(user(500), f"{secret} Say it.", "No.", correction="Zanzibar it is.")
    path = ledger(bench, traffic)
    before, _ = bench.play(Harvest(ledger=str(path)))
    assert user(500) in json.loads(before.file("people.json").read_text())
    assert _holding(before, b"Zanzibar")
    with Ledger.open(path) as open_:
        gone = open_.forget(user(500))
    assert (gone.exchanges, gone.ratings) == (2, 2)
    after, _ = bench.play(Harvest(ledger=str(path)))
    assert identity(Harvest(ledger=str(path))) != before.id
    people = json.loads(after.file("people.json").read_text())
    assert user(500) not in people and len(people) == 40
    assert not _holding(after, b"Zanzibar") and not _holding(after, user(500).encode())
    pairs, _ = bench.play(FeedbackPairs(heldout=0.0), after, bench.tokenizer)
    assert not _holding(pairs, b"Zanzibar")


def _holding(artifact: Artifact, what: bytes) -> list[str]:
    return [name for name in artifact.record.files if what in artifact.file(name).read_bytes()]


def test_pairs_of_a_harvest_are_those_that_a_loader_makes_of_its_file(bench: Bench) -> None:
    harvest, _ = bench.play(Harvest(ledger=str(ledger(bench, busy()))))
    made, told = bench.play(FeedbackPairs(heldout=0.3), harvest, bench.tokenizer)
    source = f"feedback=path:{harvest.file('pairs.jsonl')}"
    loaded, other = bench.play(LoadPairs(sources=(source,), heldout=0.3), bench.tokenizer)
    for name in (PAIRS, HELDOUT):
        assert read_pairs(made, name) == read_pairs(loaded, name) != []
        assert {row["probability"] for row in lines(made, name)} == {0.8}
    assert told.tokens == other.tokens
    known, asked = comparisons(made, small_tokenizer(), 0.5)  # as the reward model reads them
    assert (len(known), len(asked)) == (told.metrics["kept.train"], told.metrics["kept.heldout"])
    assert {each.probability for each in [*known, *asked]} == {0.8}


def test_only_the_last_answer_of_a_conversation_is_learnt(bench: Bench) -> None:
    traffic = busy()
    turns = [Message("user", "Hello"), Message("assistant", "I lie."), Message("user", "Sing.")]
    traffic.said(user(70), turns, "La <|end|> la.", score=1.0)
    harvest, _ = bench.play(Harvest(ledger=str(ledger(bench, traffic))))
    made, told = bench.play(FeedbackConversations(heldout=0.2), harvest, bench.tokenizer)
    source = f"feedback=path:{harvest.file('conversations.jsonl')}"
    loaded, other = bench.play(LoadConversations(sources=(source,), heldout=0.2), bench.tokenizer)
    learnt = said = 0
    for split in ("train", "heldout"):
        ours, theirs = (read_shard(each, split, "feedback") for each in (made, loaded))
        assert ours.ids.tolist() == theirs.ids.tolist() and len(ours)
        for number, row in enumerate(lines(made, f"{split}/feedback.jsonl")):
            ids, weights = ours.document(number), ours.document_weights(number)
            answer = [int(i) for i, w in zip(ids, weights, strict=True) if w]
            content = row["messages"][-1]["content"]
            alone = render([Message("user", "a"), Message("assistant", content)], small_tokenizer())
            expected = [i for i, w in zip(alone.ids, alone.weights, strict=True) if w]
            assert answer == expected and answer[-1] == small_tokenizer().end_of_turn
            assert answer.count(small_tokenizer().end_of_turn) == 1  # what is spelt stays text
            learnt += split == "train" and len(answer)
            said += len(row["messages"]) == 4
    assert learnt == told.metrics["learnt"] <= other.metrics["learnt"] and said == 1


def test_what_the_tasks_examine_is_not_learnt(bench: Bench) -> None:
    harvest, _ = bench.play(Harvest(ledger=str(ledger(bench, busy()))))
    problems = [{"question": f"Which is better, {n}?", "answer": "x"} for n in range(40)]
    judged = LoadTasks(sources=(f"p=path:{bench.rows('t.jsonl', problems)}",), verifier="exact")
    tasks, _ = bench.play(judged, bench.tokenizer)
    kept = {row["prompt"] for row in lines(tasks, "tasks.jsonl") if row["split"] == "train"}
    made, told = bench.play(FeedbackPairs(), harvest, bench.tokenizer, tasks)
    asked = {row["texts"][0] for name in (PAIRS, HELDOUT) for row in lines(made, name)}
    assert {each for each in asked if each.startswith("Which")} == kept
    assert told.metrics["removed.contaminated"] == 40 - len(kept) > 0
    talks, _ = bench.play(FeedbackConversations(), harvest, bench.tokenizer, tasks)
    learnt = {row["messages"][-2]["content"] for row in lines(talks, "train/feedback.jsonl")}
    assert learnt and not {each for each in learnt if each.startswith("Which")} - kept


def test_an_exam_question_is_found_behind_a_please_and_in_a_correction(bench: Bench) -> None:
    problems = [
        {"question": f"How many of the {n} red apples are left on the table?", "answer": "x"}
        for n in range(40)
    ]
    judged = LoadTasks(sources=(f"p=path:{bench.rows('t.jsonl', problems)}",), verifier="exact")
    tasks, _ = bench.play(judged, bench.tokenizer)
    splits = {row["prompt"]: row["split"] for row in lines(tasks, "tasks.jsonl")}
    exam = next(each for each, split in splits.items() if split != "train")
    plain = next(each for each, split in splits.items() if split == "train")
    traffic = busy()
    traffic.said(user(80), f"Please: {exam.rstrip('?')}", "Two.", "Three.", correction="Four.")
    traffic.said(user(81), "Do better.", "No.", correction=f"They ask: {exam} Say four.")
    traffic.said(user(82), f"Please: {plain}", "Two.", correction="Four.")
    harvest, _ = bench.play(Harvest(), exported(bench, traffic))
    for stage, file in (
        (FeedbackPairs(), PAIRS),
        (FeedbackConversations(), "train/feedback.jsonl"),
    ):
        made, told = bench.play(stage, harvest, bench.tokenizer, tasks)
        assert told.metrics["removed.contaminated"] == 2.0
        heldout = HELDOUT if file == PAIRS else "heldout/feedback.jsonl"
        kept = json.dumps([lines(made, name) for name in (file, heldout)])
        assert (
            plain in kept and "Please: " + exam.rstrip("?") not in kept and "They ask" not in kept
        )


def test_of_several_harvests_the_last_word_counts(bench: Bench) -> None:
    rounds = []
    for better in (0, 1):
        traffic = busy()
        traffic.said(user(80), "The last?", "Yes.", "No.", preferred=better)
        rounds.append(bench.play(Harvest(), exported(bench, traffic))[0])
    made, told = bench.play(FeedbackPairs(heldout=0.0), *rounds, bench.tokenizer)
    texts = [row["texts"] for row in lines(made, PAIRS)]
    assert [each[1:] for each in texts if each[0] == "The last?"] == [["No.", "Yes."]]
    assert len(texts) == 81 and told.metrics["removed.later_harvest"] == 81


def test_what_is_longer_than_allowed_is_counted(bench: Bench) -> None:
    traffic = busy()
    traffic.said(user(80), "Long?", "word " * 200, "No.", preferred=0)
    traffic.said(user(81), "Long?", "word " * 200, score=1.0)
    harvest, _ = bench.play(Harvest(), exported(bench, traffic))
    for stage in (FeedbackPairs(longest=100), FeedbackConversations(longest=100)):
        _, told = bench.play(stage, harvest, bench.tokenizer)
        assert told.metrics["removed.too_long"] == 1.0


def test_mistakes_are_one_line_with_their_place(bench: Bench) -> None:
    path = ledger(bench, busy(count=2))
    with pytest.raises(InputError, match="nothing to harvest"):
        bench.play(Harvest())
    with pytest.raises(InputError, match="the ledger has 12 rows") as caught:
        identity(Harvest(ledger=str(path), since=13))
    assert caught.value.file == str(path)
    with pytest.raises(InputError, match="no ledger here"):
        identity(Harvest(ledger=str(bench.root / "absent.db")))
    for fields in ({"since": 1}, {"ledger": "x", "since": 3, "until": 2}):
        with pytest.raises(InputError, match="since and until"):
            Harvest(**fields)  # type: ignore[arg-type]
    for wrong in ({"heldout": 1.0}, {"longest": -1}):
        with pytest.raises(InputError):
            FeedbackPairs(**wrong)  # type: ignore[arg-type]
    empty, _ = bench.play(Harvest(), exported(bench, Traffic()))
    with pytest.raises(InputError, match="nothing of domain 'feedback' is left"):
        bench.play(FeedbackPairs(), empty, bench.tokenizer)


def test_a_ledger_that_forgets_while_it_is_read_is_not_harvested(bench: Bench) -> None:
    path = ledger(bench, busy(count=3))
    stage = Harvest(ledger=str(path))
    stage.identity()
    with Ledger.open(path) as open_:
        open_.forget(user(1))
    with pytest.raises(InputError, match="rows were deleted while it was read"):
        bench.play(stage)


def test_a_damaged_harvest_is_not_learnt_from(bench: Bench) -> None:
    payload = bench.payload()
    (payload / "pairs.jsonl").write_text('{"id": "x", "prompt": "p", "chosen": "a"}\n')
    harvest = bench.keep("harvest", "harvest")
    with pytest.raises(CorruptArtifact, match="not the row") as caught:
        bench.play(FeedbackPairs(), harvest, bench.tokenizer)
    assert caught.value.line == 1
