"""The loss and gradient of a reward model are TRL's on the same weights, where TRL is there.

TRL has no margin by pair here, and no soft labels: those are held to their formula beside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ontogeny.base.store import Store
from ontogeny.bridge.comparisons import Comparison, ComparisonSteps
from ontogeny.bridge.models import load_model
from ontogeny.bridge.reward_model import judged, save_reward
from ontogeny.objectives.reward import BradleyTerry

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
QUIET = {"use_cpu": True, "bf16": False, "report_to": [], "disable_dropout": True}


@pytest.mark.parametrize("centring", [0.0, 0.5])
def test_reward(finished: Path, tmp_path: Path, centring: float) -> None:
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    transformers = pytest.importorskip("transformers")
    parent = Store.open(finished).resolve("sft")
    model, tokenizer = load_model(parent)
    model.add_score()
    assert model.score is not None
    with torch.no_grad():
        model.score.normal_(0.0, 0.1, generator=torch.Generator().manual_seed(0))
    (tmp_path / "model").mkdir()
    save_reward(tmp_path / "model", model, parent, 0.0)
    theirs: Any = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "model"
    )
    rows = [{"chosen": "one two " * n, "rejected": "three " * (6 - n)} for n in range(1, 6)]
    arguments = trl.RewardConfig(
        str(tmp_path / "run"),
        per_device_train_batch_size=len(rows),
        center_rewards_coefficient=centring or None,
        **QUIET,
    )
    vocabulary = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    made = trl.RewardTrainer(
        theirs,
        args=arguments,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=vocabulary,
    )
    inputs = next(iter(made.get_train_dataloader()))
    loss = made.compute_loss(made.model, inputs)
    loss.backward()
    kept = [
        tuple(ids[real.bool()].tolist())
        for ids, real in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
    ]
    half = len(rows)
    pairs = [
        Comparison(judged(kept[n], tokenizer.pad), judged(kept[n + half], tokenizer.pad))
        for n in range(half)
    ]
    steps = ComparisonSteps(pairs, half, 1, model.shape.context, tokenizer.pad, 0)
    objective, batch = BradleyTerry(centring=centring), steps.batch(pairs, "pairs")
    counts, terms = objective.counts(batch), objective(model(batch, objective.needs), batch).terms
    ours = sum(term.weight * term.sum / counts[name] for name, term in terms.items())
    ours.backward()  # type: ignore[union-attr]
    assert float(ours.detach()) == pytest.approx(float(loss.detach()), rel=1e-5)  # type: ignore[union-attr]
    for gradient, other in (
        (model.score.grad, made.model.score.weight.grad),
        (model.embedding.grad, made.model.get_input_embeddings().weight.grad),
    ):
        assert float(other.abs().max()) > 1e-3
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-5)
