"""A model artifact loads in stock transformers with equal logits and equal ids."""

from pathlib import Path

import pytest
import torch

from ontogeny import bridge
from ontogeny.base.store import Store
from ontogeny.objectives.batch import Batch

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
