"""Adapters of artifacts: fit with one resumes exactly, samples with it, and a stranger's merges."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from support.bench import Bench, small_tokenizer

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError, Stopped
from ontogeny.base.events import Events
from ontogeny.base.files import read_json
from ontogeny.base.stop import StopRequest
from ontogeny.bridge.adapters import adapter_parameters, merge_adapter, train_flops_per_token
from ontogeny.bridge.fit import fit
from ontogeny.bridge.models import load_model, save_model
from ontogeny.bridge.reinforcement import RolloutSteps
from ontogeny.model.adapted import attach, merge, named_adapter
from ontogeny.model.adapter_file import put_on, write_adapter
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.likelihood import NextToken
from ontogeny.objectives.policy_gradient import GRPO
from ontogeny.plan.adapter import AdapterKind, LoRA
from ontogeny.plan.optimization import Optimization, OverRollouts
from ontogeny.plan.shape import Shape
from ontogeny.run.work import Work
from ontogeny.train.steps import ListSteps

KINDS = get_args(AdapterKind)
SHAPE = Shape(small_tokenizer().vocab_size, 32, 2, 4, 2, 8, 64, 256)
STEPS = 6
FILES = ("adapter_config.json", "adapter_model.safetensors")


def model() -> Transformer:
    made = Transformer(SHAPE)
    initialise(made, 2)
    with torch.no_grad():
        made.embedding.mul_(5.0)
    return made


def batch(seed: int) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(SHAPE.vocab_size, (2, 33), generator=draw)
    return Batch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), torch.ones(2, 32))


class StoppingSteps(ListSteps):
    """Asks for a stop in step `at`, as a signal does."""

    def __init__(self, stop: StopRequest, at: int) -> None:
        super().__init__([[batch(n)] for n in range(STEPS)])
        self.stop, self.at = stop, at

    def __next__(self) -> list[Batch]:
        given = super().__next__()
        self.stop.requested = self.stop.requested or self.position == self.at
        return given


def config(kind: AdapterKind) -> Optimization:
    # a factor of embedding_lr that is read anywhere would move the magnitudes by it
    return Optimization(peak_lr=0.01, embedding_lr=1e6, adapter=LoRA(rank=4, kind=kind))


def learn(directory: Path, kind: AdapterKind, stop_at: int = 0) -> tuple[Transformer, Work]:
    """A stage that begins, or goes on, in `directory`."""
    stop = StopRequest()
    work = Work("sft", directory, 3, Events(), stop)
    work.payload.mkdir(parents=True, exist_ok=True)
    made = model()
    steps = StoppingSteps(stop, stop_at)
    _, speed = fit(work, made, NextToken(), steps, config(kind), STEPS)
    assert speed is None or f"{kind} of rank 4: 0.0" in speed.note()
    return made, work


def values(made: Transformer) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in made.named_parameters()}


@pytest.mark.interrupt
@pytest.mark.parametrize(("kind", "step"), [("lora", 1), ("rslora", 5), ("dora", 3)])
def test_a_stopped_stage_goes_on_to_the_same_bits(
    kind: AdapterKind, step: int, tmp_path: Path
) -> None:
    whole, work = learn(tmp_path / "whole", kind)
    with pytest.raises(Stopped):
        learn(tmp_path / "parts", kind, stop_at=step)
    assert not (tmp_path / "parts" / "payload" / "adapter").exists()
    parts, resumed = learn(tmp_path / "parts", kind)
    assert all(torch.equal(value, values(parts)[name]) for name, value in values(whole).items())
    for name in FILES:
        paths = [each.payload / "adapter" / name for each in (work, resumed)]
        assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_fit_leaves_the_model_merged_and_the_adapter_beside(
    kind: AdapterKind, tmp_path: Path
) -> None:
    made, work = learn(tmp_path, kind)
    again = model()
    assert put_on(again, work.payload / "adapter") == config(kind).adapter
    assert not torch.equal(again.logits(batch(0)), model().logits(batch(0)))
    merge(again)
    assert values(again).keys() == values(made).keys() == values(model()).keys()
    assert all(torch.equal(value, values(made)[name]) for name, value in values(again).items())
    untouched = {n for n, v in values(model()).items() if torch.equal(v, values(made)[n])}
    assert {name for name in values(made) if "norm" in name or name == "embedding"} == untouched


def test_the_optimizer_is_the_one_that_is_asked_for(tmp_path: Path) -> None:
    found: dict[str, torch.Tensor] = {}
    for name in ("muon", "adamw"):
        work = Work("sft", tmp_path / name, 3, Events(), StopRequest())
        work.payload.mkdir(parents=True)
        made = model()
        steps = ListSteps([[batch(0)]] * 2)
        settings = Optimization(peak_lr=0.01, optimizer=name)  # type: ignore[arg-type]
        _, speed = fit(work, made, NextToken(), steps, settings, 2)
        assert ("Muon" in speed.note()) == (name == "muon")  # type: ignore[union-attr]
        assert not (work.payload / "adapter").exists()
        found[name] = values(made)["layers.0.mixer.qkv"]
    assert not torch.equal(found["muon"], found["adamw"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("targets", [("q_proj",), ("k_proj", "o_proj", "up_proj"), None])
def test_parameters_and_flops_follow_from_the_shape(
    kind: AdapterKind, targets: tuple[str, ...] | None
) -> None:
    adapter = LoRA(rank=4, kind=kind, **({"targets": targets} if targets else {}))
    made = Transformer(SHAPE)
    initialise(made, 2)
    attach(made, adapter, 0)
    named = named_adapter(made)
    matrices = sum(value.numel() for name, value in named.items() if "magnitude" not in name)
    vectors = sum(value.numel() for name, value in named.items() if "magnitude" in name)
    assert adapter_parameters(SHAPE, adapter) == (matrices, vectors)
    assert train_flops_per_token(SHAPE, None, 64) == SHAPE.train_flops_per_token(64)
    # the frozen matrices forward and backward, the adapter with its own gradient, attention
    attention = SHAPE.train_flops_per_token(64) - 6 * SHAPE.matmul_parameters()
    expected = 4 * SHAPE.matmul_parameters() + 6 * matrices + attention
    assert train_flops_per_token(SHAPE, adapter, 64) == expected


@pytest.mark.parity
@pytest.mark.parametrize("kind", KINDS)
def test_rollouts_are_sampled_with_the_adapter(kind: AdapterKind) -> None:
    """The engine's log-probs are the trainer's, at the start and after updates."""
    made, tokenizer = model(), small_tokenizer()
    attach(made, LoRA(rank=4, kind=kind), 0)
    play = OverRollouts(
        peak_lr=0.01, steps=2, environments={"vowels-3": 1.0}, prompts=4, group=2, max_tokens=5
    )
    steps = RolloutSteps(made, tokenizer, play, 7)
    for (played,) in batches_with_changes(steps, made):
        gaps_N = gaps(made, played)
        assert len(gaps_N) >= 8
        assert float(gaps_N.max()) < 1e-5
    assert float(gaps(model(), played).max()) > 1e-2


@torch.no_grad()
def gaps(made: Transformer, played: Any) -> torch.Tensor:
    """How far each sampled token's log-prob is from the trainer's."""
    log_probs_BT = made(played, GRPO().needs).log_probs_BT
    assert log_probs_BT is not None
    return (log_probs_BT - played.sampled_BT)[played.weights_BT > 0].abs()


def batches_with_changes(steps: RolloutSteps, made: Transformer) -> Iterator[Any]:
    """Between the rollouts the adapter moves."""
    for number, played in enumerate(steps):
        yield played
        draw = torch.Generator().manual_seed(number)
        for name, value in named_adapter(made).items():
            if "lora_A" not in name:
                value.add_(torch.empty(value.shape).normal_(0, 0.05, generator=draw))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def artifact(bench: Bench) -> Artifact:
    save_model(bench.payload(), model(), bench.tokenizer, chats=True)
    return bench.keep("sft", "model")


def stranger(directory: Path, adapter: LoRA) -> Transformer:
    """Writes an adapter of the artifact; returns its model with it beside."""
    made = model()
    attach(made, adapter, 5)
    for name, value in named_adapter(made).items():
        if "lora_B" in name:
            value.normal_(0, 0.05, generator=torch.Generator().manual_seed(5))
    write_adapter(made, directory, base="/home/someone/secret")
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_strangers_adapter_is_merged_and_kept(kind: AdapterKind, bench: Bench) -> None:
    base, adapter = artifact(bench), LoRA(rank=3, alpha=5.0, kind=kind)
    expected = stranger(bench.root / "theirs", adapter)
    metrics = merge_adapter(base, bench.root / "theirs", bench.payload())
    made = bench.keep("import", "model")
    got, _ = load_model(made)
    torch.testing.assert_close(got.logits(batch(0)), expected.logits(batch(0)))
    assert metrics["adapter_parameters"] == sum(adapter_parameters(SHAPE, adapter))
    assert (metrics["adapter"], metrics["rank"], metrics["alpha"]) == (kind, 3, 5.0)
    kept = model()
    assert put_on(kept, made.path / "adapter") == adapter
    assert torch.equal(kept.logits(batch(0)), expected.logits(batch(0)))
    assert read_json(made.file("config.json")) == read_json(base.file("config.json"))
    text = made.file("adapter/adapter_config.json").read_text()
    assert "secret" not in text


def test_an_adapter_of_another_base_leaves_no_model(bench: Bench) -> None:
    other = Transformer(replace(SHAPE, hidden=16))
    initialise(other, 0)
    attach(other, LoRA(rank=4), 0)
    write_adapter(other, bench.root / "theirs")
    base, payload = artifact(bench), bench.payload()
    with pytest.raises(CorruptArtifact, match="another base, rank"):
        merge_adapter(base, bench.root / "theirs", payload)
    shutil.rmtree(bench.root / "theirs")
    with pytest.raises(InputError, match=r"no adapter_config\.json here"):
        merge_adapter(base, bench.root / "theirs", payload)
    assert not list(payload.iterdir())
