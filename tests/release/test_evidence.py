"""What a card may cite follows from the records alone, sums and verdicts included."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from release.grown import Grown, level, of

from ontogeny.base.artifact import RECORD
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.release.evidence import Evidence, file_of, parse_record, pointer
from ontogeny.release.price import Price


def test_fields_of_records_and_configurations_are_found(life: Grown) -> None:
    evidence, chat = of(life), life.by_name["measure/chat"]
    assert evidence.value(file_of(chat.id), "metrics/exam.score/estimate") == 0.63
    assert evidence.value(file_of(chat.id), "summary/0") == "what measure/chat is in 1 line"
    assert evidence.value("config.json", "eos_token_id/1") == 4
    assert evidence.value("model.safetensors", "parameters") == 1234


@pytest.mark.parametrize(
    ("file", "field"),
    [
        ("evidence/0123456789abcdef.json", "name"),
        ("SHA256SUMS", "name"),
        ("model.safetensors", "vocab_size"),
        ("config.json", "eos_token_id/2"),
        ("config.json", "eos_token_id/-1"),
        ("config.json", "vocab_size/bit_length"),
        ("config.json", "__class__"),
    ],
)
def test_what_is_not_there_is_said_to_be_missing(life: Grown, file: str, field: str) -> None:
    with pytest.raises(InputError):
        of(life).value(file, field)


def test_the_flops_of_a_life_are_its_ancestors(life: Grown) -> None:
    evidence = of(life)
    chat, base, corpus = (life.by_name[name].id for name in ("chat", "base", "corpus"))
    assert evidence.value(file_of(chat), "sum:cost/flops") == 6e9  # base and chat
    assert evidence.value(file_of(base), "sum:cost/flops") == 3e9
    assert evidence.value(file_of(base), "share:cost/flops") == 0.5
    assert evidence.value(file_of(corpus), "share:cost/flops") == 0.0
    assert [evidence.records[each].name for each in evidence.lineage] == [
        *("corpus", "tokenizer", "tokens", "base", "chat")
    ]


VERDICTS = {
    "base.bpb": ("holds", 1),
    "sft.short": ("short", 1),
    "sft.null": ("null", 1),
    "sft.arm": ("holds", 1),
    "sft.gain": ("null", 2),  # the other seed speaks against it
}


@pytest.mark.parametrize(("claim", "expected"), VERDICTS.items())
def test_a_verdict_follows_from_all_seeds(
    life: Grown, claim: str, expected: tuple[str, int]
) -> None:
    evidence, file = of(life), file_of(life.by_name[claim].id)
    assert (evidence.value(file, "verdict"), evidence.value(file, "seeds")) == expected


def test_a_claim_that_needs_a_control_and_has_none_is_untested(tmp_path: Path) -> None:
    life = Grown(tmp_path / "life")
    life.make("base", "model", "pretrain")
    life.make("measure/base", "measurement", "measure", "base")
    life.effect("a.b", 0.9, "measure/base", needs_control=True)
    life.effect("a.c", 0.9, "measure/base", gate={"reached": 0.4, "needed": 0.9})
    evidence = of(life, "base", "a.b", "a.c")
    assert evidence.value(file_of(life.by_name["a.b"].id), "verdict") == "untested"
    assert evidence.value(file_of(life.by_name["a.c"].id), "verdict") == "null"


def test_an_effect_of_a_later_stage_tells_nothing_of_this_model(life: Grown) -> None:
    evidence = of(life, "chat", "dpo.gain", "sft.gain", "sft.arm", "measure/later", "measure/arm")
    told = {each.name for each in evidence.records.values() if evidence.concerns(each)}
    assert {"sft.gain", "sft.arm", "chat", "base"} <= told
    assert not {"dpo.gain", "measure/later", "measure/arm", "later"} & told
    with pytest.raises(InputError, match="another model's life"):
        evidence.value(file_of(life.by_name["dpo.gain"].id), "verdict")


def test_names_with_slashes_are_pointed_to() -> None:
    evidence = Evidence("", {}, {"a/b": {"c~d": 1}}, 0)
    assert evidence.value("config.json", pointer("a/b", "c~d")) == 1


def test_a_record_reads_back_and_any_other_is_refused(life: Grown) -> None:
    artifact = life.by_name["measure/chat"]
    path = artifact.path / RECORD
    data = path.read_bytes()
    assert parse_record(data, path) == artifact.record
    changes: list[Callable[[bytes], bytes]] = [
        lambda text: text.replace(b"0.63", b"0.64", 1),
        lambda text: text.replace(b'"seed": 0', b'"seed": "a"'),
        lambda text: text.replace(b'"seed": 0', b'"seed": 1e999'),
        lambda text: text.replace(b'"seed": 0', b'"seed": NaN'),
        lambda text: text.replace(b'"seed": 0', b'"seed": 0, "seed": 0'),
        lambda text: text.replace(b'"metrics": {', b'"metrics": {"x": ' + b"[" * 3000, 1),
        lambda text: b"[]",  # noqa: ARG005
        lambda text: text[:-3],
        lambda text: b"\xff" + text,
    ]
    for change in changes:
        assert change(data) != data
        with pytest.raises(CorruptArtifact):
            parse_record(change(data), path)


def test_only_a_whole_effect_has_a_verdict(tmp_path: Path) -> None:
    life = Grown(tmp_path / "life")
    life.make("base", "model", "pretrain")
    broken: list[dict[str, Any]] = [{}, {"effect": 3}, {"effect": {**level(0.5), "name": "x"}}]
    for number, metrics in enumerate(broken):
        life.make(f"e{number}", "effect", "effect", "base", metrics=metrics)
        evidence = of(life, "base", f"e{number}")
        with pytest.raises(InputError, match="is no effect"):
            evidence.value(file_of(life.by_name[f"e{number}"].id), "verdict")


def test_what_is_computed_follows_from_one_field(life: Grown) -> None:
    evidence = replace(of(life), price=Price(3.6, "EUR"))
    chat, corpus = (file_of(life.by_name[name].id) for name in ("chat", "corpus"))
    assert evidence.value(corpus, "count:config/sources") == 3
    assert evidence.value(chat, "price:cost/seconds") == pytest.approx(0.002)  # 2 s
    assert evidence.value(chat, "price:sum:cost/seconds") == pytest.approx(0.0085)
    assert evidence.value("prices.json", "currency") == "EUR"


@pytest.mark.parametrize(
    "field",
    [
        *("count:name", "count:cost/seconds", "price:name", "million:cost/flops", "outcome:name"),
        *("outcome:metrics/nothing", "price:price:cost/seconds", "million:sum:cost/nothing"),
        *("price:cost/tokens", "price:seed", "million:cost/seconds", "million:version"),
        *("sum:metrics/harm/estimate", "sum:cost/harm", "sum:seed", "share:cost/harm"),
    ],
)
def test_what_cannot_be_computed_is_said(life: Grown, field: str) -> None:
    evidence = replace(of(life), price=Price(3.6, "EUR"))
    with pytest.raises(InputError):
        evidence.value(file_of(life.by_name["corpus"].id), field)


def test_without_a_price_there_is_none(life: Grown) -> None:
    chat = file_of(life.by_name["chat"].id)
    for file, field in ((chat, "price:cost/seconds"), ("prices.json", "per_hour")):
        with pytest.raises(InputError, match="no"):
            of(life).value(file, field)


def test_a_sum_that_no_record_holds_is_not_0(life: Grown) -> None:
    evidence, measured = of(life), file_of(life.by_name["measure/chat"].id)
    for field in ("sum:metrics/exam.harm/estimate", "sum:cost/harm", "share:cost/flops"):
        with pytest.raises(InputError, match=r"no sum|no share"):
            evidence.value(measured, field)


def test_records_that_branch_again_and_again_take_no_time(life: Grown) -> None:
    records = dict(of(life).records)
    pattern, parents = records[life.by_name["measure/chat"].id], [life.by_name["chat"].id]
    for depth in range(3000):
        pair = [f"{depth:015x}{side}" for side in "ab"]
        records |= {each: replace(pattern, id=each, parents=parents) for each in pair}
        parents = pair
    evidence = Evidence(life.by_name["chat"].id, records, {}, 0)
    started = time.process_time()
    assert evidence.subjects(parents[0]) == {evidence.model}
    assert evidence.concerns(records[parents[0]])
    assert time.process_time() - started < 10
