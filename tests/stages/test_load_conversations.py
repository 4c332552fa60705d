"""Conversations become what SFT reads: rendered as ever, split by question, all counted."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.bench import Bench, lines, small_tokenizer

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.files import read_json
from ontogeny.corpus.shards import domains, read_shard
from ontogeny.stages.load_conversations import LoadConversations
from ontogeny.stages.load_tasks import LoadTasks
from ontogeny.text.message import conversation_from_row
from ontogeny.text.template import render


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def talk(number: int, said: str = "") -> dict[str, Any]:
    asked = {"role": "user", "content": f"What comes after {number}?"}
    return {"messages": [asked, {"role": "assistant", "content": said or f"{number + 1}."}]}


MANY = [talk(number) for number in range(60)]


def load(file: Path, **fields: Any) -> LoadConversations:
    return LoadConversations(**{"sources": (f"chat=path:{file}",), "heldout": 0.3, **fields})


def asked(artifact: Artifact, split: str, domain: str = "chat") -> list[str]:
    rows = lines(artifact, f"{split}/{domain}.jsonl")
    return [turn["content"] for row in rows for turn in row["messages"] if turn["role"] == "user"]


def test_ids_and_weights_are_those_of_the_one_renderer(bench: Bench) -> None:
    odd = [
        {
            "conversations": [
                {"from": "system", "value": "Be brief."},
                {"from": "human", "value": "Say <|end|> and <|assistant|>."},
                {"from": "gpt", "value": "<|end|> <|endoftext|>"},
                {"from": "human", "value": "Cafe\u0301?"},
                {"from": "gpt", "value": "Oui\u200b."},
            ]
        }
    ]
    made, told = bench.play(load(bench.rows("a.jsonl", [*MANY, *odd])), bench.tokenizer)
    tokenizer, seen = small_tokenizer(), 0
    for split in ("train", "heldout"):
        shard, rows = read_shard(made, split, "chat"), lines(made, f"{split}/chat.jsonl")
        assert len(shard) == len(rows) > 0
        for index, row in enumerate(rows):
            conversation = conversation_from_row({"messages": row["messages"]})
            expected = render(conversation, tokenizer)
            assert tuple(shard.document(index).tolist()) == expected.ids
            assert tuple(shard.document_weights(index).tolist()) == expected.weights
            said = "".join(message.content for message in conversation.messages)
            assert shard.bytes[index] == len(said.encode())
            if "<|end|>" in said:
                seen += 1
                ends = expected.ids.count(tokenizer.end_of_turn)
                assert ends == len(conversation.messages) == 5
                assert conversation.messages[3].content == "Caf\u00e9?"
                assert conversation.messages[4].content == "Oui."
    assert seen == 1
    train = read_shard(made, "train", "chat")
    assert told.metrics["tokens"] == told.tokens == train.tokens
    assert told.metrics["learnt"] == int(train.weights.sum())  # type: ignore[union-attr]


def test_every_row_is_kept_or_counted(bench: Bench) -> None:
    wrong = [talk(1), {"messages": []}, {"messages": [talk(2)["messages"][0]]}, "{", {"text": "x"}]
    file = bench.rows("a.jsonl", [*MANY, *wrong])
    made, told = bench.play(load(file), bench.tokenizer)
    account = read_json(made.file("report.json"))
    assert account["removed"] == {
        "exact_duplicate": 1,
        "empty_turn": 1,
        "no_answer": 1,
        "broken_json": 1,
        "no_column": 1,
    }
    assert account["kept"]["train"] + account["kept"]["heldout"] == 60
    assert sum(account["kept"].values()) + sum(account["removed"].values()) == 65
    removed = pq.read_table(made.file("removed.parquet"))
    assert sorted(removed["id"].to_pylist()) == [f"a.jsonl/a.jsonl:{n}" for n in range(61, 66)]
    assert told.metrics["removed.no_answer"] == 1.0
    for part in (f"{account['kept']['train']} train", "5 left out", "1 no_answer"):
        assert part in told.summary[0]


def test_equal_questions_stand_on_one_side_whatever_the_order(bench: Bench) -> None:
    again = [talk(number, f"It is {number + 1}.") for number in range(60)]
    longer = [
        {"messages": [*row["messages"], {"role": "user", "content": "Sure?"}, row["messages"][1]]}
        for row in MANY
    ]
    rows = [*MANY, *again, *longer]
    shuffled = random.Random(0).sample(rows, len(rows))
    sides = []
    for name, each in (("a.jsonl", rows), ("b.jsonl", shuffled)):
        made, _ = bench.play(load(bench.rows(name, each)), bench.tokenizer)
        first = [
            {row["messages"][0]["content"] for row in lines(made, f"{split}/chat.jsonl")}
            for split in ("train", "heldout")
        ]
        assert not first[0] & first[1]
        assert len(first[0] | first[1]) == 60
        sides.append(first)
    assert sides[0] == sides[1]


def test_what_the_tasks_examine_is_not_learnt(bench: Bench) -> None:
    problems = bench.rows(
        "p.jsonl",
        [{"question": f"What comes after {number}?", "answer": number + 1} for number in range(60)],
    )
    stage = LoadTasks(sources=(f"sums=path:{problems}",), verifier="integer")
    tasks, _ = bench.play(stage, bench.tokenizer)
    rows = lines(tasks, "tasks.jsonl")
    kept_out = {row["prompt"] for row in rows if row["split"] != "train"}
    assert len(kept_out) >= 6
    shouted = talk(0)
    shouted["messages"][0]["content"] = sorted(kept_out)[0].upper()
    late = {
        "messages": [
            *talk(99)["messages"],
            *MANY[int(sorted(kept_out)[1].split()[-1][:-1])]["messages"],
        ]
    }
    file = bench.rows("a.jsonl", [*MANY, shouted, late])
    made, told = bench.play(load(file), bench.tokenizer, tasks)
    assert told.metrics["removed.contaminated"] == len(kept_out) + 2
    known = set(asked(made, "train")) | set(asked(made, "heldout"))
    assert known == {row["prompt"] for row in rows if row["split"] == "train"}


def test_domains_lie_apart_and_files_of_one_name_do_not_mix(bench: Bench) -> None:
    """Both are called rows.jsonl, and their lines have the same numbers."""
    one = bench.rows("one/rows.jsonl", MANY[:30])
    two = bench.rows("two/rows.jsonl", MANY[30:])
    stage = LoadConversations(sources=(f"a=path:{one}", f"b=path:{two}"), heldout=0.3)
    made, _ = bench.play(stage, bench.tokenizer)
    assert domains(made, "train") == domains(made, "heldout") == ["a", "b"]
    for domain, rows in (("a", MANY[:30]), ("b", MANY[30:])):
        expected = sorted(row["messages"][0]["content"] for row in rows)
        assert sorted(asked(made, "train", domain) + asked(made, "heldout", domain)) == expected
        for split in ("train", "heldout"):
            shard = read_shard(made, split, domain)
            for index, row in enumerate(lines(made, f"{split}/{domain}.jsonl")):
                said = render(
                    conversation_from_row({"messages": row["messages"]}), small_tokenizer()
                )
                assert tuple(shard.document(index).tolist()) == said.ids
    both = LoadConversations(sources=(f"a=path:{one}", f"a=path:{two}"), heldout=0.3)
    together, _ = bench.play(both, bench.tokenizer)
    assert len(asked(together, "train", "a") + asked(together, "heldout", "a")) == 60


def test_what_is_longer_than_allowed_is_counted(bench: Bench) -> None:
    file = bench.rows("a.jsonl", [*MANY, talk(60, "word " * 200)])
    made, told = bench.play(load(file, longest=100), bench.tokenizer)
    assert told.metrics["removed.too_long"] == 1.0
    assert (
        max(
            read_shard(made, "train", "chat").starts[1:]
            - read_shard(made, "train", "chat").starts[:-1]
        )
        <= 100
    )
    with pytest.raises(InputError, match=r"nothing of domain 'chat' is left.*61 too_long"):
        bench.play(load(file, longest=3), bench.tokenizer)


def test_personal_data_in_contents_and_in_tool_calls_is_scrubbed(bench: Bench) -> None:
    call = {"id": "c", "function": {"name": "mail", "arguments": {"to": "ann@example.com"}}}
    said = [
        {"role": "user", "content": "Write to ann@example.com"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "sent to ann@example.com", "tool_call_id": "c"},
        {"role": "assistant", "content": "Done."},
    ]
    made, told = bench.play(
        load(bench.rows("a.jsonl", [*MANY, {"messages": said}])), bench.tokenizer
    )
    text = "".join(made.file(f"{split}/chat.jsonl").read_text() for split in ("train", "heldout"))
    assert "example" not in text
    assert text.count("[mail]") == 3
    assert told.metrics["changed.scrubbed_mail"] == 3.0


def test_a_wrong_file_is_one_line_with_its_place(bench: Bench) -> None:
    file = bench.rows("a.jsonl", [*MANY[:3], *([{"messages": [MANY[0]["messages"][1]]}] * 2)])
    with pytest.raises(InputError) as caught:
        bench.play(load(file), bench.tokenizer)
    assert (caught.value.file, caught.value.line) == (str(file), 4)
    assert "turn 1 is the assistant's" in caught.value.reason
    assert "(not_alternating); the first of 2 wrong rows among 5" in caught.value.reason


def test_nothing_held_out_where_nothing_is_asked_for(bench: Bench) -> None:
    made, told = bench.play(load(bench.rows("a.jsonl", MANY[:2]), heldout=0.0), bench.tokenizer)
    assert domains(made, "train") == ["chat"]
    assert domains(made, "heldout") == []
    assert told.metrics["kept.heldout"] == 0.0
