"""peft computes from our adapters what we do, and we from its: outputs, gradients, training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from support.adapters import stir
from torch import Tensor

from ontogeny.model.adapted import attach, merge, named_adapter
from ontogeny.model.adapter_file import put_on, write_adapter
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import save_weights
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.likelihood import NextToken
from ontogeny.plan.adapter import AdapterKind, LoRA
from ontogeny.plan.hf_config import config_json
from ontogeny.plan.shape import Shape
from ontogeny.train.loop import Report, train
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.schedule import WSD
from ontogeny.train.steps import ListSteps

pytestmark = [
    pytest.mark.parity,
    # peft asks transformers by a name that is going away
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]
KINDS = get_args(AdapterKind)
FAMILIES = ("qwen3", "llama", "qwen2")
TOKENS = torch.randint(61, (3, 24), generator=torch.Generator().manual_seed(0))
BATCH = Batch(TOKENS, TOKENS.roll(-1, 1), torch.ones(3, 24))


def model(family: str = "qwen3") -> Transformer:
    made = Transformer(Shape(61, 32, 2, 4, 2, 8, 48, 24, family=family))
    initialise(made, 3)
    with torch.no_grad():  # biases of 0 and norms of 1 would hide a swapped pair
        for parameter in made.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(4))
    return made


def adapted(config: LoRA, family: str = "qwen3") -> Transformer:
    made = model(family)
    attach(made, config, seed=1)
    return stir(made)


def base_of_theirs(directory: Path, family: str) -> Any:
    transformers = pytest.importorskip("transformers")
    made = model(family)
    directory.mkdir()
    save_weights(made, directory / "model.safetensors")
    config = config_json(made.shape, {"eos_token_id": 1}, None)
    (directory / "config.json").write_text(json.dumps(config))
    return transformers.AutoModelForCausalLM.from_pretrained(directory).eval()


def theirs_with(adapter: Path, directory: Path, family: str, trainable: bool = False) -> Any:
    peft = pytest.importorskip("peft")
    base = base_of_theirs(directory, family)
    return peft.PeftModel.from_pretrained(base, adapter, is_trainable=trainable)


def logits_of(theirs: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = theirs(TOKENS).logits
    return found


def mean_nll(theirs: Any) -> Tensor:
    logits = theirs(TOKENS).logits.flatten(0, 1)
    return torch.nn.functional.cross_entropy(logits, BATCH.targets_BT.flatten())


def gradients_of(theirs: Any) -> dict[str, Tensor]:
    """By the names in the files."""
    return {
        name.replace(".default.weight", ".weight" if "magnitude" not in name else ""): value.grad
        for name, value in theirs.named_parameters()
        if value.grad is not None
    }


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_peft_computes_the_same_from_our_adapter(
    kind: AdapterKind, family: str, tmp_path: Path
) -> None:
    made = adapted(LoRA(rank=4, alpha=6.5, kind=kind), family)
    write_adapter(made, tmp_path / "adapter", base="some/base")
    theirs = theirs_with(tmp_path / "adapter", tmp_path / "base", family)
    got = made.logits(BATCH)
    assert float((got - logits_of(theirs)).abs().max()) < 1e-4
    assert float((got - model(family).logits(BATCH)).abs().max()) > 1e-2
    merge(made)
    merged = logits_of(theirs.merge_and_unload())
    assert float((made.logits(BATCH) - merged).abs().max()) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", [*KINDS, "rank-stabilised dora"])
def test_pefts_adapter_computes_the_same_here(kind: str, family: str, tmp_path: Path) -> None:
    """All targets, some, and what it writes of `all-linear` and of an expression."""
    peft = pytest.importorskip("peft")
    targets: dict[str, Any] = {
        "lora": "all-linear",
        "rslora": ["q_proj", "v_proj", "down_proj"],
        "dora": ["k_proj", "o_proj", "gate_proj"],
        "rank-stabilised dora": r".*\.(up|v)_proj",
    }
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=4,
        lora_alpha=6,
        lora_dropout=0.1,
        target_modules=targets[kind],
        use_rslora=kind.startswith("r"),
        use_dora=kind.endswith("dora"),
        init_lora_weights=False,
    )
    torch.manual_seed(2)
    theirs = peft.get_peft_model(base_of_theirs(tmp_path / "base", family), config).eval()
    with torch.no_grad():
        for name, value in theirs.named_parameters():
            if "magnitude" in name:
                value.mul_(torch.rand_like(value) + 0.5)
    theirs.save_pretrained(tmp_path / "adapter")
    made = model(family)
    read = put_on(made, tmp_path / "adapter")
    assert read.rank == 4
    assert read.kind == (kind if kind in KINDS else "dora")
    expected = logits_of(theirs)
    assert float((made.logits(BATCH) - expected).abs().max()) < 1e-4
    assert float((model(family).logits(BATCH) - expected).abs().max()) > 1e-2
    merge(made)
    assert float((made.logits(BATCH) - expected).abs().max()) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_pefts(kind: AdapterKind, family: str, tmp_path: Path) -> None:
    made = adapted(LoRA(rank=4, alpha=6, kind=kind), family)
    write_adapter(made, tmp_path / "adapter")
    theirs = theirs_with(tmp_path / "adapter", tmp_path / "base", family, trainable=True).eval()
    mean_nll(theirs).backward()
    loss = NextToken()(made(BATCH, NextToken().needs), BATCH).terms["nll"]
    (loss.sum / BATCH.tokens).backward()
    for parameter in made.parameters():  # the names are those of views into the parameters
        if parameter.requires_grad:
            parameter.data = parameter.grad  # type: ignore[assignment]
    expected, got = gradients_of(theirs), named_adapter(made)
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        assert float((got[name] - value).abs().max()) < 1e-5, name
        assert float(value.abs().max()) > 1e-5, name


@pytest.mark.parametrize("kind", KINDS)
def test_training_follows_pefts_losses(kind: AdapterKind, tmp_path: Path) -> None:
    made, steps, decay = adapted(LoRA(rank=4, alpha=6, kind=kind), "llama"), 8, 0.1
    write_adapter(made, tmp_path / "adapter")
    theirs = theirs_with(tmp_path / "adapter", tmp_path / "base", "llama", trainable=True).eval()
    learnt = [(n, p) for n, p in theirs.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for n, p in learnt if "magnitude" not in n], "weight_decay": decay},
        {"params": [p for n, p in learnt if "magnitude" in n], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8)
    expected = []
    for _ in range(steps):
        loss = mean_nll(theirs)
        expected.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    settings = OptimizerSettings(
        peak_lr=1e-2, weight_decay=decay, clip=float("inf"), matrices="adamw"
    )
    ours = Optimizer(made, settings, WSD(steps, decay_fraction=0.0))
    reports: list[Report] = []
    train(made, NextToken(), ListSteps([[BATCH]] * steps), ours, [reports.append])
    assert [report.loss for report in reports] == pytest.approx(expected, rel=1e-5)
    assert expected[-1] < expected[0] - 0.1
