"""Every gradient stage takes an adapter: it writes a whole model, and the adapter beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.bench import Bench, sometimes_right

from ontogeny.base.artifact import Artifact
from ontogeny.base.config import identity_dict, override
from ontogeny.bridge.adapters import adapter_parameters
from ontogeny.bridge.models import load_model, save_model
from ontogeny.model.adapted import merge
from ontogeny.model.adapter_file import put_on, read_adapter
from ontogeny.plan.adapter import LoRA
from ontogeny.run.work import Stage
from ontogeny.stages.dpo import DPO
from ontogeny.stages.grpo import GRPO
from ontogeny.stages.load_conversations import LoadConversations
from ontogeny.stages.load_pairs import LoadPairs
from ontogeny.stages.sft import SFT

ADAPTER = LoRA(rank=2, alpha=4.0)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def base(bench: Bench) -> Artifact:
    made = sometimes_right(128)
    save_model(bench.payload(), made, bench.tokenizer, chats=True)
    return bench.keep("pretrain", "model")


def chats(bench: Bench) -> Artifact:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What comes after {n}?"},
                {"role": "assistant", "content": f"{n + 1}."},
            ]
        }
        for n in range(60)
    ]
    source = f"chat=path:{bench.rows('c.jsonl', rows)}"
    return bench.play(LoadConversations(sources=(source,)), bench.tokenizer)[0]


def pairs(bench: Bench) -> Artifact:
    rows = [{"prompt": f"Is {n} even?", "chosen": "Yes", "rejected": "Who"} for n in range(40)]
    source = f"likes=path:{bench.rows('p.jsonl', rows)}"
    return bench.play(LoadPairs(sources=(source,)), bench.tokenizer)[0]


def weights(artifact: Artifact) -> dict[str, torch.Tensor]:
    return dict(load_model(artifact)[0].named_parameters())


def check(parent: Artifact, child: Artifact, adapter: LoRA) -> None:
    """The child is its parent with the adapter beside it merged, bit by bit."""
    assert read_adapter(child.path / "adapter").config == adapter
    expected, _ = load_model(parent)
    put_on(expected, child.path / "adapter")
    merge(expected)
    got, before = weights(child), weights(parent)
    for name, value in expected.named_parameters():
        assert torch.equal(value, got[name]), name
        matrix = name.startswith("layers.") and value.ndim == 2
        assert torch.equal(value, before[name]) != matrix, name


def test_sft_dpo_and_grpo_each_train_an_adapter_on_the_model_before(bench: Bench) -> None:
    start = base(bench)
    common: dict[str, Any] = {"peak_lr": 0.01, "adapter": ADAPTER}
    sft, told = bench.play(
        SFT(tokens=1024, batch_tokens=256, **common), start, chats(bench), seed=1
    )
    check(start, sft, ADAPTER)
    model, _ = load_model(start)
    learnt = sum(adapter_parameters(model.shape, ADAPTER))
    assert f"lora of rank 2: {learnt / 1e6:.2f} M parameters learnt beside" in told.notes[0]
    dora = LoRA(rank=2, kind="dora")
    stage: Stage = DPO(pairs_a_step=8, peak_lr=0.01, adapter=dora)
    dpo, _ = bench.play(stage, sft, pairs(bench), seed=2)
    check(sft, dpo, dora)
    stage = GRPO(
        steps=4,
        environments={"vowels-3": 1.0},
        prompts=8,
        group=8,
        max_tokens=3,
        beta=0.05,
        **common,
    )
    grpo, _ = bench.play(stage, dpo, seed=3)
    check(dpo, grpo, ADAPTER)


def test_a_stage_without_an_adapter_keeps_none_of_its_parents(bench: Bench) -> None:
    """It is of the parent's weights, and would be wrong beside others."""
    sft = SFT(tokens=512, batch_tokens=256, peak_lr=0.01, adapter=ADAPTER)
    talks = chats(bench)
    first, _ = bench.play(sft, base(bench), talks)
    second, _ = bench.play(override(sft, ("adapter", "null")), first, talks)
    assert "adapter/adapter_config.json" in first.record.files
    assert not [name for name in second.record.files if name.startswith("adapter")]


def test_an_adapter_is_part_of_a_stages_identity_and_set_from_the_command_line() -> None:
    plain = SFT(tokens=512, batch_tokens=256, peak_lr=0.01)
    assert "adapter" not in identity_dict(plain)
    adapted = SFT(tokens=512, batch_tokens=256, peak_lr=0.01, adapter=LoRA())
    changed = override(
        adapted, ("adapter.rank", "8"), ("adapter.targets", "q_proj,v_proj"), ("optimizer", "adamw")
    )
    assert changed.adapter == LoRA(rank=8, targets=("q_proj", "v_proj"))
    assert identity_dict(changed)["adapter"]["rank"] == 8
    assert identity_dict(adapted) != identity_dict(changed)
