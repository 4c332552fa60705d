"""A life in miniature for tests of the command line: every stage, in seconds."""

import os
from pathlib import Path
from typing import Any

from ontogeny.base.artifact import Artifact
from ontogeny.evaluate.claims import Claim
from ontogeny.evaluate.gate import Criterion
from ontogeny.feedback.users import Crowd
from ontogeny.run.run import Run
from ontogeny.stages.bits_per_byte import BitsPerByte
from ontogeny.stages.compare import Compare
from ontogeny.stages.constitution_labels import ConstitutionLabels
from ontogeny.stages.constitution_revisions import ConstitutionRevisions
from ontogeny.stages.continue_pretrain import ContinuePretrain
from ontogeny.stages.contrasts import Contrasts
from ontogeny.stages.converse import Converse
from ontogeny.stages.dpo import DPO
from ontogeny.stages.drift import Drift
from ontogeny.stages.effect import Effect
from ontogeny.stages.encode import Encode
from ontogeny.stages.extend_context import ExtendContext
from ontogeny.stages.feedback_conversations import FeedbackConversations
from ontogeny.stages.feedback_pairs import FeedbackPairs
from ontogeny.stages.gate import Gate
from ontogeny.stages.gate_effect import GateEffect
from ontogeny.stages.grpo import GRPO
from ontogeny.stages.harvest import Harvest
from ontogeny.stages.haystacks import Hay, Haystacks
from ontogeny.stages.load_conversations import LoadConversations
from ontogeny.stages.load_pairs import LoadPairs
from ontogeny.stages.load_tasks import LoadTasks
from ontogeny.stages.measure import Measure
from ontogeny.stages.measure_attacks import MeasureAttacks
from ontogeny.stages.measure_memory import MeasureMemory
from ontogeny.stages.measure_pairs import MeasurePairs
from ontogeny.stages.measure_preference import MeasurePreference
from ontogeny.stages.measure_rewards import MeasureRewards
from ontogeny.stages.measure_safety import MeasureSafety
from ontogeny.stages.measure_serving import MeasureServing
from ontogeny.stages.pairs import Pairs
from ontogeny.stages.plant_canaries import PlantCanaries
from ontogeny.stages.play import Play
from ontogeny.stages.ppo import PPO
from ontogeny.stages.prepare import Prepare
from ontogeny.stages.pretrain import Pretrain
from ontogeny.stages.red_team import RedTeam
from ontogeny.stages.release import Release
from ontogeny.stages.repair_failures import RepairFailures
from ontogeny.stages.reward_model import RewardModel
from ontogeny.stages.samples import Samples
from ontogeny.stages.sft import SFT
from ontogeny.stages.teach import Teach
from ontogeny.stages.traffic import Traffic
from ontogeny.stages.train_tokenizer import TrainTokenizer
from ontogeny.stages.wash import Wash
from ontogeny.stages.watch import Watch
from ontogeny.stages.yardstick import Yardstick

ROWS = Path(__file__).parent / "rows"
CROWD = Crowd(
    users=6, requests=100, questions=20, tasks=("vowels-3",), suggestions=4, bored=1.0, spam=5
)
PROMOTED = Claim("circle.promoted", "a gate's word", "decision", "at_most", 0.0, null=1.0)
BPB = Claim("base.bpb", "bits a byte", "bits a byte", "at_most", 1.0, null=None)
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
            tokens=plan.tokens["pretrain"],
            batch_tokens=plan.batch_tokens,
            peak_lr=plan.peak_lr,
            mixture={"english": 0.9, "tasks": 0.1},
            checkpoint_seconds=0.1,
        ),
        tokens,
        tokenizer,
        name="base",
    )
    bits = run(BitsPerByte(), base, tokens, xz, name="base-bpb")
    run(
        Effect(
            claim=BPB,
            form="level",
            series="english.bits",
            null_from="first",
            null_series="english.xz",
        ),
        bits,
        name="effect",
    )
    needles = run(Haystacks({"needles": Hay(40, 3)}), tokenizer, name="needles")
    chats = run(Converse({"vowels-3": 400}), tokenizer, name="conversations")
    long_rows = {"batch_tokens": 1024, "checkpoint_seconds": 0.1}
    more = run(
        ContinuePretrain(
            tokens=plan.tokens["continue"],
            batch_tokens=512,
            peak_lr=0.005,
            mixture={"english": 1.0},
            checkpoint_seconds=0.1,
        ),
        base,
        tokens,
        name="more",
    )
    long = run(
        ExtendContext(
            tokens=plan.tokens["context"],
            peak_lr=0.003,
            mixture={"english": 0.5, "needles": 0.5},
            **long_rows,
        ),
        more,
        tokens,
        needles,
        name="long",
    )
    sft = run(SFT(tokens=plan.tokens["sft"], peak_lr=0.01, **long_rows), long, chats, name="sft")
    wash = run(
        Wash(
            tokens=plan.tokens["wash"],
            peak_lr=0.003,
            mixture={"english": 0.5, "chat": 0.5},
            **long_rows,
        ),
        sft,
        tokens,
        chats,
        name="wash",
    )
    pairs = run(Pairs(environments={"vowels-3": 40}, answers=4), wash, name="pairs")
    dpo = run(
        DPO(peak_lr=0.001, pairs_a_step=4, epochs=2, checkpoint_seconds=0.1),
        wash,
        pairs,
        name="dpo",
    )
    grpo = run(
        GRPO(
            steps=8,
            peak_lr=0.001,
            environments={"vowels-3": 1.0},
            prompts=4,
            group=4,
            beta=0.01,
            checkpoint_seconds=0.1,
        ),
        dpo,
        name="grpo",
    )
    exam = Measure(domains=("english",), window=64, document_tokens=256, exam={"vowels-3": 20})
    before = run(exam, dpo, tokens, name="measure/dpo")
    after = run(exam, grpo, tokens, name="measure/grpo")
    run(Drift(environments={"vowels-3": 20}), dpo, grpo, name="drift")
    run(Compare(documents=2, tasks=4), dpo, grpo, before, after, tokens, name="compare")
    run(Samples(prompts=("The state of",), max_tokens=8), grpo, name="samples")
    rewarded(run, wash, pairs)
    guarded(run, tokenizer, grpo)
    circled(run, grpo)
    own = own_rows(run, tokenizer, grpo)
    return run(
        Release(license="apache-2.0", title="Tiny"), grpo, before, after, own, name="release"
    )


def rewarded(run: Run, model: Artifact, pairs: Artifact) -> None:
    """A reward model and PPO against it; the watch over the record that PPO keeps."""
    learning = RewardModel(peak_lr=0.003, pairs_a_step=4, checkpoint_seconds=0.1)
    reward = run(learning, model, pairs, name="reward")
    ppo = run(
        PPO(
            steps=3,
            peak_lr=0.001,
            environments={"vowels-3": 1.0},
            prompts=8,
            epochs=2,
            minibatches=2,
            checkpoint_seconds=0.1,
        ),
        model,
        reward,
        name="ppo",
    )
    run(MeasureRewards(environments={"vowels-3": 20}), ppo, reward, name="rewards")
    run(Watch(), ppo, name="watch")


def guarded(run: Run, tokenizer: Artifact, model: Artifact) -> None:
    """A teacher's episodes, requests under a policy, a constitution, attacks and their repair."""
    played = run(Play(environments={"library-1": 4}, split="train"), name="played")
    run(Teach(), tokenizer, played, name="lessons")
    run(Contrasts(requests=60), tokenizer, name="contrasts")
    asked = {"harmful": 8, "borderline": 8, "ordinary": 8}
    run(MeasureSafety(counts=asked, max_tokens=8), model, name="safety")
    under: dict[str, Any] = {
        "constitution": "village",
        "prompts": {"village/harmful": 6, "village/ordinary": 6},
        "max_tokens": 8,
    }
    run(ConstitutionLabels(refusal=True, **under), model, name="labels")
    run(ConstitutionRevisions(rounds=1, **under), model, name="revisions")
    attacks = run(
        RedTeam(wishes=1, benign=1, generations=1, children=4, shortened=1, calls=4, max_tokens=8),
        model,
        name="attacks",
    )
    run(RepairFailures(plain=10), tokenizer, attacks, name="repairs")
    run(MeasureAttacks(harmful=4, benign=4, max_tokens=8), model, name="attacked")


def circled(run: Run, model: Artifact) -> None:
    """Users over HTTP, what they said harvested and learnt, secrets planted, a gate."""
    traffic = run(Traffic(crowd=CROWD, max_tokens=8), model, name="traffic")
    harvest = run(Harvest(), traffic, name="harvest")
    pairs = run(FeedbackPairs(heldout=0.3), harvest, model, name="votes/pairs")
    talks = run(FeedbackConversations(heldout=0.0), harvest, model, name="votes/talks")
    learning = DPO(peak_lr=0.001, pairs_a_step=4, checkpoint_seconds=0.1)
    candidate = run(learning, model, pairs, name="candidate")
    planted = run(PlantCanaries(counts={0: 2, 1: 2, 10: 2}), model, talks, name="planted")
    run(MeasureMemory(alternatives=3, tail=4, rows=20), candidate, planted, name="memory")
    asked = MeasurePreference(questions=20, answers=2, max_tokens=8)
    liked = [
        run(asked, each, name=f"liked/{name}")
        for name, each in (("candidate", candidate), ("released", model))
    ]
    gate = Gate(criteria=(Criterion("liked", "preference.score", "gain", 0.0),))
    decided = run(gate, candidate, model, *liked, name="gate")
    run(GateEffect(claim=PROMOTED), decided, name="promoted")
    speeds = MeasureServing(clients=(1, 2), requests=2, prompt_tokens=16, answer_tokens=8, rounds=1)
    run(speeds, model, name="serving")


def own_rows(run: Run, tokenizer: Artifact, model: Artifact) -> Artifact:
    """Conversations, pairs and tasks from files; the model's measurement on them."""
    files = {name: (f"{name}=path:{ROWS / name}.jsonl",) for name in ("chats", "pairs", "tasks")}
    chats = run(LoadConversations(sources=files["chats"], heldout=0.3), tokenizer, name="own/chats")
    pairs = run(LoadPairs(sources=files["pairs"], heldout=0.3), tokenizer, name="own/pairs")
    judged = LoadTasks(sources=files["tasks"], verifier="final_number")
    tasks = run(judged, tokenizer, name="own/tasks")
    run(MeasurePairs(), model, pairs, name="own/prefers")
    exam = Measure(domains=("chats",), window=64, exam={"tasks/tasks": 0}, max_tokens=8)
    return run(exam, model, chats, tasks, name="own/exam")
