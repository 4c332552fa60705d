"""A model artifact loads in stock transformers with equal logits and equal ids."""

from pathlib import Path
from typing import Literal

import pytest
import torch

from ontogeny import bridge
from ontogeny.base.store import Store
from ontogeny.objectives.batch import Batch
from ontogeny.plan.sampling import GREEDY
from ontogeny.rollout.policy import Continuation, Request, sample_all, score_all

pytestmark = pytest.mark.parity


def test_the_base_model_loads_in_transformers(finished: Path) -> None:
    transformers = pytest.importorskip("transformers")
    artifact = Store.open(finished).resolve("base")
    model, tokenizer = bridge.load_model(artifact)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(artifact.path).eval()
    text = "The state of our Union, in 1862, was <|end|> naïve."
    ids = torch.tensor([tokenizer.encode(text)])
    batch = Batch(ids, ids, torch.ones(ids.shape))
    with torch.no_grad():
        gap = (theirs(ids).logits - model.logits(batch)).abs().max()
    assert float(gap) < 1e-4
    vocabulary = transformers.AutoTokenizer.from_pretrained(artifact.path)
    encoded = vocabulary(text, split_special_tokens=True, add_special_tokens=False)
    assert encoded["input_ids"] == tokenizer.encode(text)
    assert theirs.config.eos_token_id == tokenizer.end_of_text


@pytest.mark.parametrize("weights", ["int8", "bf16"])
def test_smaller_weights_say_nearly_the_same_and_score_as_before(
    finished: Path, weights: Literal["int8", "bf16"]
) -> None:
    artifact = Store.open(finished).resolve("base")
    plain, tokenizer = bridge.load_policy(artifact, slots=1)
    small, _ = bridge.load_policy(artifact, slots=1, weights=weights)
    prompt = (tokenizer.begin, *tokenizer.encode("The state of our Union"))
    said = [sample_all(each, [Request(prompt, 1, GREEDY)])[0] for each in (plain, small)]
    assert said[0].ids == said[1].ids
    assert 0 < abs(said[0].log_probs[0] - said[1].log_probs[0]) < 0.05
    asked = [Continuation(prompt, said[0].ids)]
    assert score_all(plain, asked) == score_all(small, asked)
