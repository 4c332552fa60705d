"""DPO and GRPO give TRL's losses and gradients on the same model and tokens, where TRL is there.

TRL's IPO takes means over an answer's tokens; its KL term may be corrected by the ratio, which the
paper's is not.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.store import Store
from ontogeny.bridge.packing import Said, pack
from ontogeny.bridge.preference import Pair, pair_batch
from ontogeny.infer.scoring import score
from ontogeny.objectives.batch import Batch, Rollouts
from ontogeny.objectives.policy_gradient import GRPO
from ontogeny.objectives.preference import DPO

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
COUNT, PROMPT, MOST = 8, 10, 9
QUIET = {"use_cpu": True, "bf16": False, "report_to": [], "disable_dropout": True}


@pytest.fixture
def trl() -> Any:
    return pytest.importorskip("trl")


def theirs(artifact: Artifact) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.AutoModelForCausalLM.from_pretrained(artifact.path)


def trainer(kind: Any, arguments: Any, rows: list[dict[str, str]], **models: Any) -> Any:
    datasets, transformers = pytest.importorskip("datasets"), pytest.importorskip("transformers")
    vocabulary = transformers.AutoTokenizer.from_pretrained(models["model"].name_or_path)
    data = datasets.Dataset.from_list(rows)
    return kind(args=arguments, train_dataset=data, processing_class=vocabulary, **models)


def assert_same(objective: Any, model: Any, batch: Batch, made: Any, loss: torch.Tensor) -> None:
    """Our loss and the embedding's gradient are those that `made` got for `loss`."""
    loss.backward()
    counts = objective.counts(batch)
    terms = objective(model(batch, objective.needs), batch).terms
    ours = sum(term.weight * term.sum / counts[name] for name, term in terms.items())
    ours.backward()
    assert float(ours.detach()) == pytest.approx(float(loss.detach()), rel=1e-5, abs=1e-6)
    gradient = made.model.get_input_embeddings().weight.grad
    assert float(gradient.abs().max()) > 0.1
    torch.testing.assert_close(model.embedding.grad, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("sigmoid", DPO(beta=0.3)),
        ("sigmoid_norm", DPO(beta=2.0, length_normalised=True)),
        ("ipo", DPO(beta=0.3, loss="ipo", length_normalised=True)),
    ],
)
def test_dpo(trl: Any, finished: Path, tmp_path: Path, name: str, objective: DPO) -> None:
    after, before = (Store.open(finished).resolve(each) for each in ("dpo", "sft"))
    rows = [
        {"prompt": f"{n} and ", "chosen": "one " * n, "rejected": "two " * (5 - n)}
        for n in range(1, 5)
    ]
    arguments = trl.DPOConfig(
        str(tmp_path),
        per_device_train_batch_size=len(rows),
        loss_type=[name],
        beta=objective.beta,
        **QUIET,
    )
    made = trainer(trl.DPOTrainer, arguments, rows, model=theirs(after), ref_model=theirs(before))
    inputs = next(iter(made.get_train_dataloader()))
    reference, _ = bridge.load_model(before)
    said = []
    for ids, real, completion in zip(
        *(inputs[key] for key in ("input_ids", "attention_mask", "completion_mask")), strict=True
    ):
        kept, first = ids[real.bool()].tolist(), completion[real.bool()].tolist().index(1)
        said.append(Said(tuple(kept[:first]), tuple(kept[first:])))
    sums = [sum(each[0]) for each in score(reference, [(s.prompt, s.answer) for s in said])]
    half = len(rows)
    pairs = [Pair(said[n], said[n + half], (sums[n], sums[n + half])) for n in range(half)]
    model, _ = bridge.load_model(after)
    batch = pair_batch(pairs, model.shape.context, 0, "pairs")
    assert_same(objective, model, batch, made, made.compute_loss(made.model, inputs))


def padded(rows: list[list[float]], width: int, left: bool = False) -> torch.Tensor:
    made = [[0.0] * (width - len(r)) + r if left else r + [0.0] * (width - len(r)) for r in rows]
    return torch.tensor(made)


@pytest.mark.parametrize(
    ("name", "normalise"), [("grpo", "answer"), ("dapo", "token"), ("dr_grpo", "constant")]
)
def test_grpo(trl: Any, finished: Path, tmp_path: Path, name: str, normalise: Any) -> None:
    artifact = Store.open(finished).resolve("dpo")
    model, _ = bridge.load_model(artifact)
    objective = GRPO(clip_high=0.28, beta=0.1, normalise=normalise, max_tokens=MOST)
    draw, noise = random.Random(0), torch.Generator().manual_seed(0)
    said = [
        Said(*(tuple(draw.randrange(300) for _ in range(draw.randint(1, n))) for n in (8, MOST)))
        for _ in range(COUNT)
    ]
    packed = pack(said, 64, 0)
    advantage = torch.randn(COUNT, generator=noise)
    zero = torch.zeros(packed.tokens_BT.shape)
    batch = Rollouts(
        *(packed.tokens_BT, packed.targets_BT, packed.weights_BT, packed.documents),
        answer_BT=packed.answer_BT,
        answers=COUNT,
        advantage_S=advantage,
        reward_S=advantage,
        sampled_BT=zero,
    )
    with torch.no_grad():
        now = model(batch, objective.needs).log_probs_BT
    old, reference = (
        now + 0.3 * torch.randn(zero.shape, generator=noise) * packed.weights_BT for _ in range(2)
    )
    batch = replace(batch, sampled_BT=old, reference_BT=reference)

    def by_answer(values: torch.Tensor) -> torch.Tensor:
        flat = iter(values[packed.weights_BT > 0].tolist())
        return padded([[next(flat) for _ in each.answer] for each in said], MOST)

    arguments = trl.GRPOConfig(
        str(tmp_path),
        per_device_train_batch_size=COUNT,
        loss_type=name,
        beta=objective.beta,
        epsilon=objective.clip_low,
        epsilon_high=objective.clip_high,
        max_completion_length=MOST,
        use_bias_correction_kl=False,
        **QUIET,
    )
    rows, nothing = [{"prompt": "a"}] * COUNT, (lambda completions, **_: [0.0] * len(completions))
    made = trainer(trl.GRPOTrainer, arguments, rows, model=theirs(artifact), reward_funcs=nothing)
    made.model.eval()
    made.current_gradient_accumulation_steps = 1
    prompts, answers = [list(each.prompt) for each in said], [list(each.answer) for each in said]
    mask = padded([[1.0] * len(each) for each in answers], MOST).long()
    inputs = {
        "prompt_ids": padded(prompts, PROMPT, left=True).long(),  # type: ignore[arg-type]
        "prompt_mask": padded([[1.0] * len(each) for each in prompts], PROMPT, left=True).long(),
        "completion_ids": padded(answers, MOST).long(),  # type: ignore[arg-type]
        "completion_mask": mask,
        "advantages": advantage,
        "old_per_token_logps": by_answer(old),
        "ref_per_token_logps": by_answer(reference),
        "num_items_in_batch": mask.sum(),
    }
    assert_same(objective, model, batch, made, made._compute_loss(made.model, inputs))
