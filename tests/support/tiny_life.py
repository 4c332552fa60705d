"""A life in miniature for tests of the command line: every stage of quickstart, in seconds."""

import os

from ontogeny.base.artifact import Artifact
from ontogeny.run.run import Run
from ontogeny.stages.bits_per_byte import BitsPerByte
from ontogeny.stages.encode import Encode
from ontogeny.stages.prepare import Prepare
from ontogeny.stages.pretrain import Pretrain
from ontogeny.stages.samples import Samples
from ontogeny.stages.train_tokenizer import TrainTokenizer
from ontogeny.stages.yardstick import Yardstick

SOURCE = "english=path:" + os.environ.get("TINY_LIFE_TEXTS", "texts")


def tiny_life(run: Run) -> Artifact:
    plan = run.budget
    corpus = run(Prepare(sources=(SOURCE,), heldout={"english": 0.2}, tasks=200), name="corpus")
    tokenizer = run(TrainTokenizer(vocab_size=plan.shape.vocab_size), corpus, name="tokenizer")
    tokens = run(Encode(), corpus, tokenizer, name="tokens")
    xz = run(Yardstick(), corpus, name="xz")
    base = run(
        Pretrain(
            shape=plan.shape,
            tokens=plan.pretrain_tokens,
            batch_tokens=plan.batch_tokens,
            peak_lr=plan.peak_lr,
            mixture={"english": 0.9, "tasks": 0.1},
            checkpoint_seconds=0.1,
        ),
        tokens,
        tokenizer,
        name="base",
    )
    run(BitsPerByte(), base, tokens, xz, name="base-bpb")
    run(Samples(prompts=("The state of",), max_tokens=8), base, name="base-samples")
    return base
