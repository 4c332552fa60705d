"""Stages work on open weights as on a model of our own: they keep what it came with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from support.bench import Bench, small_tokenizer
from support.families import FAMILIES, made

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.bridge.models import save_model
from ontogeny.plan.adapter import LoRA
from ontogeny.plan.shape import Rope
from ontogeny.stages.converse import Converse
from ontogeny.stages.import_weights import ImportWeights
from ontogeny.stages.measure import Measure
from ontogeny.stages.sft import SFT

CONTEXT = 512


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def directory(bench: Bench, name: str, **config: Any) -> Path:
    """Open weights of a family, with our tokenizer's files, as somebody might publish them."""
    size = small_tokenizer().vocab_size
    shape = replace(FAMILIES[name], vocab_size=size, context=CONTEXT, rope=Rope())
    target = bench.root / f"open-{len(list(bench.root.iterdir()))}"
    target.mkdir()
    save_model(target, made(shape), bench.tokenizer, chats=True)
    path = target / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return target


def imported(bench: Bench, name: str, **config: Any) -> Artifact:
    return bench.play(ImportWeights(source=str(directory(bench, name, **config))))[0]


def teaching(**changes: Any) -> SFT:
    numbers = {"tokens": 256, "batch_tokens": 128, "row_tokens": 64, "peak_lr": 1e-3}
    return SFT(**(numbers | changes))


@pytest.mark.parametrize("name", ["llama2", "qwen2", "smollm3", "olmo3", "gemma2", "gemma3"])
def test_a_stage_keeps_the_config_and_learns_in_short_rows(bench: Bench, name: str) -> None:
    parent = imported(bench, name, initializer_range=0.5, bos_token_id=7)
    talks, _ = bench.play(Converse({"count-5": 20}, turns=1), parent)
    child, told = bench.play(teaching(adapter=LoRA(rank=2)), parent, talks)
    before, after = (json.loads(each.file("config.json").read_text()) for each in (parent, child))
    assert after == before
    assert after["bos_token_id"] == 7 and after["initializer_range"] == 0.5
    assert bridge.chats(child) and bridge.shape_of(child) == bridge.shape_of(parent)
    old, new = (load_file(each.file("model.safetensors")) for each in (parent, child))
    moved = {key for key in old if not (old[key] == new[key]).all()}
    assert moved == {key for key in old if key.endswith("_proj.weight")}
    assert told.tokens == 256
    exam = Measure(domains=(), exam={"count-5": 3}, max_tokens=4, slots=2)
    _, measured = bench.play(exam, child)
    assert measured.metrics["exam.score"]["units"] == 3


def test_a_child_of_an_adapted_model_keeps_no_adapter_of_its_parents(bench: Bench) -> None:
    parent = imported(bench, "smollm2")
    talks, _ = bench.play(Converse({"count-5": 20}, turns=1), parent)
    child, _ = bench.play(teaching(adapter=LoRA(rank=2)), parent, talks)
    assert "adapter/adapter_model.safetensors" in child.record.files
    grandchild, _ = bench.play(teaching(optimizer="adamw", peak_lr=1e-5), child, talks)
    assert not [name for name in grandchild.record.files if name.startswith("adapter")]


def test_rows_longer_than_the_context_are_refused(bench: Bench) -> None:
    parent = imported(bench, "llama2")
    talks, _ = bench.play(Converse({"count-5": 20}, turns=1), parent)
    longer = teaching(row_tokens=2 * CONTEXT, tokens=2 * CONTEXT, batch_tokens=2 * CONTEXT)
    with pytest.raises(InputError, match="row_tokens is 1024, the model's context 512"):
        bench.play(longer, parent, talks)
    with pytest.raises(InputError, match="no multiple of row_tokens"):
        teaching(row_tokens=100)


def test_the_same_bytes_elsewhere_are_the_same_artifact(bench: Bench) -> None:
    first, second = (ImportWeights(source=str(directory(bench, "llama2"))) for _ in range(2))
    assert first.source != second.source and first.identity() == second.identity()
    other = ImportWeights(source=str(directory(bench, "llama2", rope_theta=7e4)))
    assert other.identity() != first.identity()
