"""A life on your own data: texts, conversations, preference pairs, tasks. Bring what you have.

ontogeny new my_life --text ... --chats ...    # writes this recipe for your files
ontogeny run my_life/life.py                   # ten minutes, all told about twice that at most
ontogeny run my_life/life.py --budget 1h       # a larger model
ontogeny run my_life/life.py --dry-run         # what would be made, under which numbers
ontogeny run my_life/life.py:evidence          # then: two more seeds, and a placebo for GRPO
"""

from pathlib import Path

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.evaluate.claims import Claim
from ontogeny.plan.plan import CONTEXT_FACTOR
from ontogeny.run.run import Run
from ontogeny.stages.bits_per_byte import BitsPerByte
from ontogeny.stages.dpo import DPO
from ontogeny.stages.effect import Effect
from ontogeny.stages.encode import Encode
from ontogeny.stages.extend_context import ExtendContext
from ontogeny.stages.grpo import GRPO
from ontogeny.stages.load_conversations import LoadConversations
from ontogeny.stages.load_pairs import LoadPairs
from ontogeny.stages.load_tasks import LoadTasks
from ontogeny.stages.measure import Measure
from ontogeny.stages.measure_pairs import MeasurePairs
from ontogeny.stages.prepare import Prepare
from ontogeny.stages.pretrain import Pretrain
from ontogeny.stages.release import Release
from ontogeny.stages.samples import Samples
from ontogeny.stages.sft import SFT
from ontogeny.stages.train_tokenizer import TrainTokenizer
from ontogeny.stages.wash import Wash
from ontogeny.stages.yardstick import Yardstick

HERE = Path(__file__).resolve().parent

# --- Your data: DOMAIN=path:PLACE, a file or a folder; docs/own_data.md tells the forms ----------
# Texts (txt, md, jsonl, json, parquet, also gz). The name of the domain is yours; `english` and
# `code` have rules of their own. Behind the place: #column=NAME (of the text), &rules=english.
TEXT = (f"english=path:{HERE}/data/text",)
# Conversations, preference pairs, prompts with answers; () where you have none. Columns of other
# names are told by what they mean: {"prompt": "question", "answer": "solution"}.
CHATS: tuple[str, ...] = ()  # (f"chat=path:{HERE}/data/chats",)
CHAT_COLUMNS: dict[str, str] = {}
PAIRS: tuple[str, ...] = ()  # (f"preferences=path:{HERE}/data/pairs",)
PAIR_COLUMNS: dict[str, str] = {}
TASKS: tuple[str, ...] = ()  # (f"problems=path:{HERE}/data/tasks",)
TASK_COLUMNS: dict[str, str] = {}
VERIFIER = "exact"  # exact, ignoring_case, final_number, choice, integer, word, json, ...
ANSWER_TOKENS = 64  # the longest answer to a task
PROMPTS = ("The", "Who are you?")  # shown after every stage
LICENSE, TITLE = "other", "A small model of my own"  # of the released weights
# --- end of your data ----------------------------------------------------------------------------

# What you expect, written down before it is measured: change the targets now or never.
CLAIMS = {
    claim.name: claim
    for claim in (
        Claim(
            "base.bits",
            "held-out text; the null value is what xz -9e needs after the training text",
            "bits a byte",
            "at_most",
            2.0,
            null=None,
        ),
        Claim("sft.chats", "held-out answers, after less before", "nats a token", "at_most", -0.5),
        Claim("wash.text", "held-out text, after less before", "nats a token", "at_most", -0.2),
        Claim(
            "dpo.preference",
            "held-out pairs whose chosen answer gained on the rejected one",
            "share",
            "at_least",
            0.55,
            null=0.5,
        ),
        Claim("grpo.reward", "tasks of the exam, after less before", "share", "at_least", 0.02),
        Claim(
            "grpo.placebo",
            "the same with rewards dealt out at random",
            "share",
            "within",
            0.02,
            needs_control=True,
        ),
    )
}
DOMAINS = tuple(spec.partition("=")[0] for spec in TEXT)
TALKS = tuple(spec.partition("=")[0] for spec in CHATS)
PLAYED = {f"tasks/{spec.partition('=')[0]}": 1.0 for spec in TASKS}
# Shares of the plan's peak rate: those of the shipped quickstart.
LONG_LR, SFT_LR, WASH_LR, DPO_LR, GRPO_LR = 0.2, 0.4, 0.3, 0.014, 0.042
WASHED_IN = 0.3  # share of conversations in the wash
PLAYED_PROMPTS, PLAYED_ANSWERS, TYPICAL_PROMPT = 16, 8, 96


def own_data(run: Run) -> Artifact:
    """The main line: texts to a released model, everything measured."""
    run.expects(*CLAIMS.values())
    return Life(run, Data(run)).release()


def evidence(run: Run) -> Artifact:
    """The main line under three seeds on the same data, and the placebo of GRPO."""
    run.expects(*CLAIMS.values())
    data = Data(run)
    lives = [Life(each, data) for each in (run, run.seeded(1), run.seeded(2))]
    for life in lives:
        if TASKS:
            life.placebo()
    return lives[0].release()


class Data:
    """What is read: cleaned, told apart, split; what is held out is never trained on."""

    def __init__(self, run: Run) -> None:
        if (PAIRS or TASKS) and not CHATS:
            raise InputError("bring CHATS, too: a base model does not answer in turns")
        shape = run.budget.shape
        context = shape.context * CONTEXT_FACTOR
        self.corpus = run(Prepare(sources=TEXT, heldout=dict.fromkeys(DOMAINS, 0.1)), name="corpus")
        self.tokenizer = run(
            TrainTokenizer(vocab_size=shape.vocab_size), self.corpus, name="tokenizer"
        )
        self.tokens = run(Encode(), self.corpus, self.tokenizer, name="tokens")
        self.xz = run(Yardstick(domain=DOMAINS[0]), self.corpus, name="xz")
        self.chats: tuple[Artifact, ...] = ()
        self.pairs: tuple[Artifact, ...] = ()
        self.tasks: tuple[Artifact, ...] = ()
        if TASKS:
            room = context - ANSWER_TOKENS
            tasks = LoadTasks(sources=TASKS, columns=TASK_COLUMNS, verifier=VERIFIER, longest=room)
            self.tasks = (run(tasks, self.tokenizer, name="tasks"),)
        kept_out = (self.tokenizer, *self.tasks)  # nobody learns what an exam asks
        if CHATS:
            chats = LoadConversations(sources=CHATS, columns=CHAT_COLUMNS, longest=context)
            self.chats = (run(chats, *kept_out, name="chats"),)
        if PAIRS:
            pairs = LoadPairs(sources=PAIRS, columns=PAIR_COLUMNS, longest=context)
            self.pairs = (run(pairs, *kept_out, name="pairs"),)


class Life:
    """The models of one seed in order, and what was measured of each."""

    def __init__(self, run: Run, data: Data) -> None:
        self.run, self.data = run, data
        self.model = run(self.pretraining(), data.tokens, data.tokenizer, name="base")
        self.before = self.measure("base")
        self.measured = [self.before]
        bits = run(BitsPerByte(domain=DOMAINS[0]), self.model, data.tokens, data.xz, name="bits")
        self.measured.append(bits)
        self.effect("base.bits", "level", f"{DOMAINS[0]}.bits", bits, null=f"{DOMAINS[0]}.xz")
        self.grow("long", self.lengthening(), data.tokens)
        if CHATS:
            self.teach()
        if PAIRS:
            self.prefer()
        if TASKS:
            self.play()

    def grow(self, name: str, stage: object, *parents: Artifact) -> tuple[Artifact, Artifact]:
        """One more stage; its measurement and the one before it."""
        before, last = self.before, self.model
        self.model = self.run(stage, last, *parents, name=name)
        self.before = self.measure(name)
        self.measured.append(self.before)
        return before, self.before

    def teach(self) -> None:
        """Conversations, and then text again, which wins back what they cost."""
        before, after = self.grow("sft", self.teaching(), *self.data.chats)
        self.effect("sft.chats", "change", f"{TALKS[0]}.nats", before, after)
        before, after = self.grow("wash", self.washing(), self.data.tokens, *self.data.chats)
        self.effect("wash.text", "change", f"{DOMAINS[0]}.nats", before, after)

    def prefer(self) -> None:
        """Preference pairs."""
        first = self.run(MeasurePairs(), self.model, *self.data.pairs, name="prefers/before")
        stage = DPO(peak_lr=DPO_LR * self.run.budget.peak_lr, pairs_a_step=16)
        self.grow("dpo", stage, *self.data.pairs)
        second = self.run(MeasurePairs(), self.model, *self.data.pairs, name="prefers/after")
        self.measured += [first, second]
        self.effect("dpo.preference", "wins", "pairs.margin", first, second)

    def play(self) -> None:
        """Tasks with a verifier."""
        self.parent, self.untaught = self.model, self.exam("before", self.model)
        self.grow("grpo", self.playing(shuffled=False), *self.data.tasks)
        after = self.exam("after", self.model)
        self.measured += [self.untaught, after]
        self.effect("grpo.reward", "change", "exam.score", self.untaught, after)

    def placebo(self) -> None:
        """GRPO again, its rewards dealt out at random among the answers to a prompt."""
        stage = self.playing(shuffled=True)
        model = self.run(stage, self.parent, *self.data.tasks, name="placebo")
        after = self.exam("placebo", model)
        self.effect("grpo.placebo", "change", "exam.score", self.untaught, after, control="placebo")

    def release(self) -> Artifact:
        """The last model as a bundle that other tools load, with its card."""
        about = Release(license=LICENSE, title=TITLE, claims=tuple(CLAIMS))
        return self.run(about, self.model, *self.measured, name="release")

    def effect(
        self, claim: str, form: str, series: str, *of: Artifact, null: str = "", control: str = ""
    ) -> None:
        """The number behind a claim."""
        more = {"null_from": "first", "null_series": null} if null else {}
        stage = Effect(claim=CLAIMS[claim], form=form, series=series, control=control, **more)
        self.measured.append(self.run(stage, *of, name=claim))

    def measure(self, name: str) -> Artifact:
        """Held-out text and held-out conversations; some prompts continued, to be read."""
        known = (self.data.tokens, *self.data.chats)
        stage = Measure(domains=(*DOMAINS, *TALKS), window=self.run.budget.shape.context)
        self.run(Samples(prompts=PROMPTS, temperature=0.0), self.model, name=f"samples/{name}")
        return self.run(stage, self.model, *known, name=f"measure/{name}")

    def exam(self, name: str, model: Artifact) -> Artifact:
        """All tasks of the exam, one answer each."""
        asked = dict.fromkeys(PLAYED, 0)
        stage = Measure(domains=(), exam=asked, max_tokens=ANSWER_TOKENS, slots=32)
        return self.run(stage, model, *self.data.tasks, name=f"exam/{name}")

    def pretraining(self) -> Pretrain:
        """From random weights; every domain by an equal share."""
        plan = self.run.budget
        return Pretrain(
            shape=plan.shape,
            tokens=plan.tokens["pretrain"],
            batch_tokens=plan.batch_tokens,
            peak_lr=plan.peak_lr,
            mixture=dict.fromkeys(DOMAINS, 1 / len(DOMAINS)),
        )

    def lengthening(self) -> ExtendContext:
        """Four times the context."""
        return ExtendContext(
            **self.over("context", LONG_LR),
            embedding_lr=1.0,
            mixture=dict.fromkeys(DOMAINS, 1 / len(DOMAINS)),
        )

    def teaching(self) -> SFT:
        """Only what the assistant says is learnt."""
        return SFT(**self.over("sft", SFT_LR), mixture=dict.fromkeys(TALKS, 1 / len(TALKS)))

    def washing(self) -> Wash:
        """Text, with some conversations so that what they taught stays."""
        texts = dict.fromkeys(DOMAINS, (1 - WASHED_IN) / len(DOMAINS))
        talks = dict.fromkeys(TALKS, WASHED_IN / len(TALKS))
        return Wash(**self.over("wash", WASH_LR), mixture=texts | talks)

    def playing(self, *, shuffled: bool) -> GRPO:
        """Groups of answers to training tasks; with `shuffled` the placebo."""
        plan = self.run.budget
        one = PLAYED_PROMPTS * PLAYED_ANSWERS * (TYPICAL_PROMPT + ANSWER_TOKENS)
        return GRPO(
            steps=max(4, plan.tokens["grpo"] // one),
            peak_lr=GRPO_LR * plan.peak_lr,
            embedding_lr=1.0,
            prompts=PLAYED_PROMPTS,
            group=PLAYED_ANSWERS,
            environments=PLAYED,
            max_tokens=ANSWER_TOKENS,
            shuffled=shuffled,
        )

    def over(self, stage: str, rate: float) -> dict[str, float]:
        """Tokens, batch and rate of a stage behind pretraining, from the plan."""
        plan = self.run.budget
        rows = max(plan.batch_tokens, plan.shape.context * CONTEXT_FACTOR)
        return {
            "tokens": plan.tokens[stage],
            "batch_tokens": rows,
            "peak_lr": rate * plan.peak_lr,
        }
