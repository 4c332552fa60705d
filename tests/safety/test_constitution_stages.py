"""Revisions teach SFT, labels teach DPO and a reward model, and a diff finds what was changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.bench import Bench, lines
from support.openai_server import Act, Heard, chat, says, serving

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.config import identity_dict
from ontogeny.base.errors import InputError
from ontogeny.base.events import Events
from ontogeny.base.stop import StopRequest
from ontogeny.bridge.comparisons import comparisons
from ontogeny.bridge.models import save_model
from ontogeny.cli import constitution_command
from ontogeny.edge.remote_config import LimitReached, Limits, RemoteConfig
from ontogeny.environments.policy import REFUSAL, behaviour
from ontogeny.evaluate.series import read_series
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.shape import Shape
from ontogeny.rollout.journal import FileJournal
from ontogeny.run.work import Work
from ontogeny.safety.constitution import VILLAGE
from ontogeny.safety.constitution_diff import difference, read_labels
from ontogeny.stages.constitution_agreement import ConstitutionAgreement
from ontogeny.stages.constitution_labels import ConstitutionLabels
from ontogeny.stages.constitution_revisions import ConstitutionRevisions
from ontogeny.text.tokenizer import Tokenizer

ASKED = {"village/harmful": 24, "village/borderline": 8}
BRIEFLY = {"max_tokens": 6, "wave": 16, "slots": 16}


def babbler(bench: Bench, seed: int = 2, context: int = 512) -> Artifact:
    """An untrained model: it says 3 and blanks, and ends sooner or later; it refuses nothing."""
    tokenizer = Tokenizer.load(bench.tokenizer.path)
    made = Transformer(Shape(tokenizer.vocab_size, 32, 2, 4, 2, 8, 64, context))
    initialise(made, seed)
    with torch.no_grad():
        made.embedding.mul_(5.0)
        made.embedding[:, 0] = 1.0
        liked = [*tokenizer.encode("3"), *tokenizer.encode(" "), tokenizer.end_of_turn]
        made.embedding[liked, 0] = 3.0
    save_model(bench.payload(), made, bench.tokenizer, chats=True)
    return bench.keep("sft", "model")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("constitution"))


@pytest.fixture(scope="module")
def model(bench: Bench) -> Artifact:
    return babbler(bench)


def test_revisions_by_rule_are_conversations_to_learn_from(bench: Bench, model: Artifact) -> None:
    stage = ConstitutionRevisions(constitution="village", prompts=ASKED, rounds=2, **BRIEFLY)
    made, told = bench.play(stage, model)
    rows = lines(made, "revisions.jsonl")
    assert len(rows) == 32 and all(len(row["rounds"]) == 2 for row in rows)
    last = {row["task"]: row["rounds"][-1]["answer"] for row in rows}
    talks = lines(made, "conversations.jsonl")
    assert all(
        talk["messages"][1]["content"] == last[talk["id"].rpartition("/")[0]] for talk in talks
    )
    refused = [
        row
        for row in rows
        if row["label"] == "harmful" and behaviour(last[row["task"]]) == "refuse"
    ]
    assert len(refused) == 24
    assert told.metrics["harmful.comply.last"]["estimate"] == 0.0
    assert told.metrics["harmful.comply.first"]["estimate"] > 0.5
    assert "harmful: comply" in told.summary[1]
    again, _ = Bench(bench.root / "again").play(stage, model)
    assert again.file("revisions.jsonl").read_bytes() == made.file("revisions.jsonl").read_bytes()


def test_all_revisions_can_be_learnt_from(bench: Bench, model: Artifact) -> None:
    common = {"constitution": "village", "prompts": ASKED, "rounds": 3, **BRIEFLY}
    last, _ = bench.play(ConstitutionRevisions(learns="last", **common), model)
    every, _ = bench.play(ConstitutionRevisions(learns="all", domain="revised", **common), model)
    assert len(lines(every, "conversations.jsonl")) > len(lines(last, "conversations.jsonl"))
    assert "train/revised.ids.npy" in every.record.files


def test_a_model_can_be_critic_and_judge_of_another(bench: Bench, model: Artifact) -> None:
    critic = babbler(bench, seed=5, context=1_024)
    two = {"village/harmful": 2}
    stage = ConstitutionRevisions(prompts=two, by="words", rounds=1, words=8, **BRIEFLY)
    made, _ = bench.play(stage, model, critic)
    rounds = [each for row in lines(made, "revisions.jsonl") for each in row["rounds"]]
    assert {(each["critic"], each["kept"]) for each in rounds} == {("critic", None)}
    alone, _ = bench.play(stage, babbler(bench, context=1_024))
    assert [row["rounds"] for row in lines(alone, "revisions.jsonl")] != rounds
    judged = ConstitutionLabels(prompts={"village/harmful": 12}, by="words", answers=3, **BRIEFLY)
    labels, told = bench.play(judged, model, critic)
    kept = lines(labels, "labels.jsonl")
    assert all(0.0 < each["probability"] < 1.0 for each in kept)
    assert all(each["judge"] == "critic" and each["principle"] and each["reason"] for each in kept)
    assert -0.5 <= told.metrics["bias"] <= 0.5 and 0.0 <= told.metrics["flipped"] <= 1.0
    assert "position: (A) gets" in told.summary[1]
    sure = replace(judged, by="rules", constitution="village")
    # beside a refusal every answer is told apart by the rules, and the judge can be held to them
    yardstick, _ = bench.play(replace(sure, refusal=True, answers=1), model)
    heard, _ = bench.play(replace(judged, refusal=True, answers=1), model, critic)
    agreed, _ = bench.play(ConstitutionAgreement(), yardstick, heard)
    series, labels_ = read_series(agreed), read_labels(heard)[1]
    assert set(series["agrees"].units) == set(labels_) and len(labels_) == 12
    right = dict(zip(series["agrees"].units, series["agrees"].values, strict=True))
    assert all(right[pair] == float(each.better == "second") for pair, each in labels_.items())
    assert series["favour"].values == [each.favour for each in labels_.values()]


BRIEF = """
[[principle]]
name = "theft"
text = "Speak of theft in few words."
rule = "no_more_than_N_words"
number = 2
categories = ["theft"]

[[principle]]
name = "others"
text = "Speak of the rest in few words."
rule = "no_more_than_N_words"
number = 2
categories = ["lock", "poison", "weapon", "hurt", "private", "cheat", "fire"]
"""


@pytest.fixture(scope="module")
def asking(bench: Bench) -> ConstitutionLabels:
    file = bench.root / "brief.toml"
    file.write_text(BRIEF, encoding="utf-8")
    return ConstitutionLabels(
        constitution=str(file),
        prompts={"village/harmful": 60},
        heldout=0.2,
        max_tokens=12,
        wave=32,
        slots=32,
    )


@pytest.fixture(scope="module")
def labels(bench: Bench, model: Artifact, asking: ConstitutionLabels) -> Artifact:
    return bench.play(asking, model)[0]


def test_labels_are_pairs_that_dpo_and_a_reward_model_read(bench: Bench, labels: Artifact) -> None:
    rows = lines(labels, "pairs.jsonl")
    assert rows and all(row["probability"] > 0.5 for row in rows)
    train, heldout = comparisons(labels, Tokenizer.load(bench.tokenizer.path), 0.0)
    assert [each.probability for each in train] == [row["probability"] for row in rows]
    assert len(heldout) == len(lines(labels, "heldout.jsonl"))
    known = read_labels(labels)[1]
    everything = lines(labels, "labels.jsonl")
    assert len(everything) == len(known) >= len(rows) + len(lines(labels, "heldout.jsonl"))
    decided = [each for each in everything if each["probability"] != 0.5]
    assert len(decided) == len(rows) + len(lines(labels, "heldout.jsonl"))
    by_texts = {(each["prompt"], *each["answers"]): each for each in decided}
    for row in rows:
        prompt, chosen, rejected = row["texts"]
        first = by_texts.get((prompt, chosen, rejected))
        second = by_texts.get((prompt, rejected, chosen))
        assert (first or {"probability": 1.0 - second["probability"]})["probability"] == (  # type: ignore[index]
            row["probability"]
        )


def test_held_out_prompts_are_in_no_training_pair(labels: Artifact) -> None:
    asked = [
        {row["texts"][0] for row in lines(labels, f"{each}.jsonl")} for each in ("pairs", "heldout")
    ]
    assert asked[0] and asked[1] and not asked[0] & asked[1]


def test_the_placebo_turns_about_half_of_the_labels(
    bench: Bench, model: Artifact, labels: Artifact, asking: ConstitutionLabels
) -> None:
    turned, _ = bench.play(replace(asking, shuffled=True), model)
    found = difference(labels, turned)
    decided = sum(each.better != "neither" for each in read_labels(labels)[1].values())
    assert decided > 15
    assert [each.principle for each in found.groups] == [""]
    assert 0.2 < found.changed / decided < 0.8


def test_a_diff_finds_exactly_the_planted_change(
    bench: Bench, model: Artifact, labels: Artifact, asking: ConstitutionLabels
) -> None:
    after, _ = bench.play(replace(asking, without=("theft",)), model)
    found = difference(labels, after)
    kept = read_labels(labels)[1].values()
    planted = {each.pair for each in kept if each.category == "theft" and each.better != "neither"}
    theft, rest = found.groups
    assert (theft.principle, theft.how) == ("theft", "taken out") and planted
    assert {a.pair for a, _ in theft.changed} == planted
    assert {b.better for _, b in theft.changed} == {"neither"} and theft.rate == 1.0
    assert (rest.principle, rest.how, rest.changed) == ("", "as it was", ())
    assert theft.labels + rest.labels == found.common == len(kept) and found.alone == 0
    same = difference(labels, labels)
    assert same.changed == 0 and same.moved == 0.0


def test_a_principle_that_says_something_else_moves_its_own_labels(
    bench: Bench, model: Artifact, labels: Artifact, asking: ConstitutionLabels
) -> None:
    file = bench.root / "longer.toml"
    file.write_text(BRIEF.replace("number = 2", "number = 4", 1), encoding="utf-8")
    after, _ = bench.play(replace(asking, constitution=str(file)), model)
    theft, rest = difference(labels, after).groups
    assert theft.how == "changed" and theft.changed and not rest.changed
    assert {each.category for pair in theft.changed for each in pair} == {"theft"}


def test_the_command_prints_what_changed(
    bench: Bench,
    model: Artifact,
    labels: Artifact,
    asking: ConstitutionLabels,
    capsys: pytest.CaptureFixture[str],
) -> None:
    after, _ = bench.play(replace(asking, without=("theft",)), model)
    root = bench.store.root
    constitution_command.diff(labels.id, str(after.path), root, most=1, as_json=False)
    told = capsys.readouterr().out
    assert "theft: taken out;" in told and "no changed principle; 0 of" in told
    assert "harmful theft" in told and "after   neither (0.50) by no principle" in told
    constitution_command.diff(labels.id, after.id, root, most=0, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["changed"] == len(found["groups"][0]["changed"])
    for wrong, reason in (
        (model.id, "keeps no labels"),
        ("nothing", "no artifact is called 'nothing'"),
        (str(root), "artifacts with labels"),
    ):
        with pytest.raises(InputError, match=reason):
            constitution_command.diff(labels.id, wrong, root, most=1, as_json=False)
    constitution_command.show("village", as_json=False)
    assert "theft            Do not help to take" in capsys.readouterr().out


def test_a_killed_stage_goes_on_from_its_waves(
    bench: Bench, model: Artifact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stage = ConstitutionRevisions(constitution="village", prompts=ASKED, rounds=1, **BRIEFLY)
    whole, told = bench.play(stage, model)
    work = Work("again", tmp_path, 0, Events(), StopRequest())
    work.payload.mkdir(parents=True)
    append, kept = FileJournal.append, []

    def dying(self: FileJournal, record: object, /) -> None:
        append(self, record)
        kept.append(record)
        if len(kept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(FileJournal, "append", dying)
    with pytest.raises(KeyboardInterrupt):
        stage(work, model)
    monkeypatch.setattr(FileJournal, "append", append)
    done = stage(work, model)
    assert (done.metrics, done.tokens) == (told.metrics, told.tokens)
    for name in ("revisions.jsonl", "conversations.jsonl"):
        assert (work.payload / name).read_bytes() == whole.file(name).read_bytes()


def test_a_server_that_speaks_chat_is_critic_and_judge(bench: Bench, model: Artifact) -> None:
    def answer(heard: Heard) -> Act:
        last = heard.body["messages"][-1]["content"]
        if "Answer (A)" not in last:
            return says(chat("That is too short."))
        a, b = last.split("Answer (A): ")[1].split("Answer (B): ")
        return says(chat("(A)" if REFUSAL in a else "(B)" if REFUSAL in b else "Neither."))

    with serving(answer) as server:
        common = {"by": "server", "server": RemoteConfig(server.url, "small"), **BRIEFLY}
        prompts = {"plain/harmful": 2, "plain/borderline": 2}
        revising = ConstitutionRevisions(prompts=prompts, rounds=1, **common)
        made, _ = bench.play(revising, model)
        labelling = ConstitutionLabels(prompts=prompts, answers=1, refusal=True, **common)
        labels, told = bench.play(labelling, model)
    rounds = [each for row in lines(made, "revisions.jsonl") for each in row["rounds"]]
    assert {each["critique"] for each in rounds} == {"That is too short."}
    judged = lines(labels, "labels.jsonl")
    assert len(judged) == 4 and {each["probability"] for each in judged} == {0.0}
    assert {each["reason"] for each in judged} == {"(B) | (A)"}
    assert (told.metrics["bias"], told.metrics["flipped"]) == (0.0, 0.0)
    assert len(server.posts) == 4 + 2 * 4


def test_a_servers_limit_holds_for_all_sessions_and_is_no_identity(
    model: Artifact, tmp_path: Path
) -> None:
    def stage(most: int | None = None, name: str = "small") -> ConstitutionRevisions:
        config = RemoteConfig(url, name, concurrency=1, limits=Limits(most_requests=most))
        prompts = {"plain/harmful": 4}
        return ConstitutionRevisions(
            prompts=prompts, rounds=1, by="server", server=config, max_tokens=6, wave=1
        )

    work = Work("limited", tmp_path, 0, Events(), StopRequest())
    work.payload.mkdir(parents=True)
    with serving(lambda _: says(chat("That is too short."))) as server:
        url = server.url
        for expected in (2, 2):
            with pytest.raises(LimitReached):
                stage(2)(work, model)
            assert len(server.posts) == expected
        stage(100)(work, model)
        assert len(server.posts) == 4
    here, there = identity_dict(stage(2)), identity_dict(stage(100))
    url = "http://elsewhere"
    assert here == there == identity_dict(stage(7)) != identity_dict(stage(2, "large"))
    with pytest.raises(InputError, match=r"server\.model"):
        stage(name="")


def test_identity_is_what_the_files_say(tmp_path: Path) -> None:
    copy = tmp_path / "copy.toml"
    copy.write_text(f"# a copy\n{VILLAGE.read_text(encoding='utf-8')}", encoding="utf-8")
    here = ConstitutionLabels(constitution="village", prompts=ASKED).identity()
    assert ConstitutionLabels(constitution=str(copy), prompts=ASKED).identity() == here
    less = ConstitutionLabels(constitution="village", without=("short",), prompts=ASKED)
    assert less.identity() != here


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"prompts": {}}, "no prompts"),
        ({"by": "dice"}, "by is 'dice'"),
        ({"by": "server"}, "needs server"),
        ({"max_tokens": 0}, "at least 1"),
        ({"answers": 1}, "at least 2 answers"),
        ({"thinks": True}, "rules do not think"),
        ({"heldout": 1.0}, "a share from 0"),
    ],
)
def test_what_cannot_be_meant_is_said_at_once(given: dict, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        ConstitutionLabels(**({"prompts": ASKED} | given))


def test_a_judge_that_nothing_asks_is_refused(bench: Bench, model: Artifact) -> None:
    stage = ConstitutionRevisions(constitution="village", prompts=ASKED, **BRIEFLY)
    with pytest.raises(InputError, match="judges nothing"):
        bench.play(stage, model, model)
    with pytest.raises(InputError, match="letters, digits and _"):
        ConstitutionRevisions(prompts=ASKED, domain="a/b")
    with pytest.raises(InputError, match="rounds is at least 1"):
        ConstitutionRevisions(prompts=ASKED, rounds=0)
    assert bridge.shape_of(model).context == 512
