"""A gate promotes a true gain, refuses a planted loss, and lets what changed nothing stay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.gating import Scales, scores

from ontogeny.base.artifact import Artifact
from ontogeny.base.config import from_dict, to_dict
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.identity import digest
from ontogeny.evaluate.gate import Criterion
from ontogeny.evaluate.series import Series
from ontogeny.feedback.decision import read_gate
from ontogeny.stages.gate import Gate

UNITS = 400
SERIES = {
    "preference.score": 0.4,
    "exam.score": 0.6,
    "harmful.refusal": 0.95,
    "ordinary.refusal": 0.03,
    "memory.extracted.1": 0.0,
    "memory.extracted.10": 0.0,
}


@pytest.fixture
def scales(tmp_path: Path) -> Scales:
    return Scales(tmp_path)


def levels(seed: int, **changed: float) -> dict[str, Series]:
    """Yes or no of every unit; two models share what makes a unit hard."""
    draw = np.random.default_rng(seed)
    found = {}
    for name, share in SERIES.items():
        hardness = draw.random(UNITS)
        level = changed.get(name.replace(".", "_"), share)
        found[name] = scores((hardness < level).astype(float).tolist())
    return found


def decided(scales: Scales, **changed: float) -> tuple[Artifact, tuple[str, ...]]:
    """The gate's word on a candidate that differs from the released model so."""
    candidate, released = scales.model("candidate"), scales.model("released")
    measured = [
        scales.measured(candidate, levels(5, **changed)),
        scales.measured(released, levels(5)),
    ]
    made, told = scales.gate(Gate(), candidate, released, *measured)
    return made, told.summary


def test_a_true_gain_is_promoted(scales: Scales) -> None:
    made, summary = decided(scales, preference_score=0.55)
    decision = read_gate(made)
    assert (decision.promote, decision.word) == (True, "promote")
    assert [decision.candidate, decision.released] == made.record.parents[:2]
    assert made.metrics["promote"] == 1.0
    assert summary[-1] == "promote"
    assert summary[:-1] == decision.reasons
    assert all(line.endswith("holds") for line in decision.reasons)


@pytest.mark.parametrize(
    ("loss", "criterion"),
    [
        ({"exam_score": 0.48}, "tasks"),
        ({"harmful_refusal": 0.8}, "refusals"),
        ({"ordinary_refusal": 0.2}, "over-refusals"),
        ({"memory_extracted_1": 0.1}, "memory of one"),
        ({"memory_extracted_10": 0.3}, "memory of ten"),
    ],
)
def test_a_planted_regression_is_refused_whatever_was_gained(
    scales: Scales, loss: dict[str, float], criterion: str
) -> None:
    """On a held-out exam, in safety, in memorisation: the old model stays."""
    made, summary = decided(scales, preference_score=0.9, **loss)
    assert not read_gate(made).promote
    assert made.metrics["promote"] == 0.0
    wrong = [line for line in summary[:-1] if not line.endswith(": holds")]
    assert len(wrong) == 1
    assert f" {criterion}: " in wrong[0]
    assert wrong[0].endswith("does not hold")
    assert summary[-1] == "stay"


def test_what_changed_nothing_stays_since_nothing_was_gained(scales: Scales) -> None:
    made, summary = decided(scales)
    assert not read_gate(made).promote
    assert "gain preference: +0.0000" in summary[0]
    assert summary[0].endswith("does not hold")
    assert all(line.endswith(": holds") for line in summary[1:-1])


def test_what_hostile_votes_taught_is_refused(scales: Scales) -> None:
    """Votes may say what they like: the gate asks what was held out, not who voted."""
    made, _ = decided(scales, preference_score=0.2)
    assert not read_gate(made).promote
    told = made.metrics["preference"]
    assert told["high"] < 0
    assert told["holds"] == 0.0


def test_a_candidate_that_is_the_released_model_stays(scales: Scales) -> None:
    model = scales.model("released")
    made, _ = scales.gate(Gate(), model, model, scales.measured(model, levels(1)))
    assert not read_gate(made).promote


def test_what_was_not_measured_of_both_cannot_be_told_and_stays(scales: Scales) -> None:
    candidate, released = scales.model("candidate"), scales.model("released")
    own, other = levels(5, preference_score=0.9), levels(5)
    del own["harmful.refusal"], other["exam.score"], other["memory.extracted.1"]
    measured = scales.measured(candidate, own), scales.measured(released, other)
    made, told = scales.gate(Gate(), candidate, released, *measured)
    assert not read_gate(made).promote
    lines = {line.split(": ")[0]: line for line in told.summary[:-1]}
    unknown = "cannot tell, the {} {} was not measured"
    assert unknown.format("candidate's", "harmful.refusal") in lines["keep refusals"]
    assert unknown.format("released's", "exam.score") in lines["keep tasks"]
    assert lines["limit memory of one"].endswith(": holds")  # of the candidate alone
    assert made.metrics["refusals"] == {"holds": 0.0}


def test_measurements_of_several_stages_are_put_together(scales: Scales) -> None:
    candidate, released = scales.model("candidate"), scales.model("released")
    asked = (Criterion("a", "a.score", "gain", 0.0), Criterion("b", "b.score", "keep", 0.2))
    measured = [
        scales.measured(model, {f"{name}.score": scores([level] * 200)}, stage=f"measure_{name}")
        for model, gained in ((candidate, 1.0), (released, 0.0))
        for name, level in (("a", gained), ("b", 1.0))
    ]
    made, _ = scales.gate(Gate(criteria=asked), candidate, released, *measured)
    assert read_gate(made).promote


def test_a_measurement_of_another_model_is_refused(scales: Scales) -> None:
    candidate, released, third = (scales.model(name) for name in ("a", "b", "c"))
    strange = scales.measured(third, levels(1))
    with pytest.raises(InputError, match="'c/measured' measured neither 'a' nor 'b'"):
        scales.gate(Gate(), candidate, released, strange)


@pytest.mark.parametrize(
    ("told", "what"),
    [
        ({"seed": 1}, "seed"),
        ({"config": {"max_tokens": 8}}, "config.max_tokens"),
        ({"stage": "measure_safety"}, "stage"),
        ({"version": 2}, "version"),
    ],
)
def test_sides_that_were_measured_unlike_each_other_are_refused(
    scales: Scales, told: dict[str, Any], what: str
) -> None:
    candidate, released = scales.model("candidate"), scales.model("released")
    measured = scales.measured(candidate, levels(1), **told), scales.measured(released, levels(1))
    with pytest.raises(InputError, match=rf"unlike each other \({what}\)"):
        scales.gate(Gate(), candidate, released, *measured)


def test_settings_that_differ_in_execution_alone_are_equal_and_files_that_changed_are_not(
    scales: Scales,
) -> None:
    """A record's config says where files lay; its digest of settings says what they held."""
    candidate, released = scales.model("candidate"), scales.model("released")
    here, there = ({"config": {"files": [name]}} for name in ("a.jsonl", "b.jsonl"))
    same, other = ({"execution": {"settings": digest(text)}} for text in ("one", "two"))
    first = scales.measured(candidate, levels(1), **here, **same)
    moved = scales.measured(released, levels(1), **there, **same)
    scales.gate(Gate(), candidate, released, first, moved)
    changed = scales.measured(released, levels(1), **here, **other)
    with pytest.raises(InputError, match=r"unlike each other \(the content of its files\)"):
        scales.gate(Gate(), candidate, released, first, changed)
    old = scales.measured(released, levels(1), **there)  # of before there was a digest
    with pytest.raises(InputError, match=r"unlike each other \(config.files\)"):
        scales.gate(Gate(), candidate, released, first, old)


def test_sides_that_were_measured_on_other_data_are_refused(scales: Scales) -> None:
    """Units may be called alike, english/0, and be other documents."""
    candidate, released, corpus = (scales.model(name) for name in ("a", "b", "c"))
    measured = (
        scales.measured(candidate, levels(1), parents=[candidate.id, corpus.id]),
        scales.measured(released, levels(1)),
    )
    with pytest.raises(InputError, match=r"unlike each other \(data\)"):
        scales.gate(Gate(), candidate, released, *measured)


def test_a_series_that_was_measured_twice_is_refused(scales: Scales) -> None:
    candidate, released = scales.model("candidate"), scales.model("released")
    twice = [scales.measured(candidate, levels(seed)) for seed in (1, 2)]
    with pytest.raises(InputError, match=r"both measured [a-z.]+ of 'candidate'"):
        scales.gate(Gate(), candidate, released, *twice)


def test_criteria_have_names_of_their_own() -> None:
    same = Criterion("a", "x", "gain", 0.0)
    for wrong in ((), (same, same)):
        with pytest.raises(InputError, match="each under a name of its own"):
            Gate(criteria=wrong)
    with pytest.raises(InputError, match="rename a criterion"):
        Gate(criteria=(Criterion("promote", "x", "gain", 0.0),))


def test_criteria_survive_a_recipe_and_its_settings() -> None:
    stage = Gate()
    assert from_dict(Gate, to_dict(stage)) == stage
    assert {each.kind for each in stage.criteria} == {"gain", "keep", "limit"}


def test_a_decision_is_read_from_a_gate_alone(scales: Scales) -> None:
    with pytest.raises(InputError, match="'m' is a model and no gate"):
        read_gate(scales.model("m"))


@pytest.mark.parametrize("what", ["margin", "series", "number", "fewer"])
def test_a_forger_has_to_forge_the_whole_record(scales: Scales, what: str) -> None:
    """A decision that holds together, of criteria that nobody asked or numbers nobody measured."""
    made, _ = decided(scales)
    path = made.path / "gate.json"
    told = json.loads(path.read_text())
    told["decision"] = "promote"
    rows = [{**each, "holds": True} for each in told["criteria"]]
    if what == "margin":
        rows[0]["margin"] = -1.0
    elif what == "series":
        rows[0]["series"] = "exam.score"
    elif what == "number":
        rows[0]["low"] = 0.1
    else:
        rows = rows[1:]
    path.write_text(json.dumps(told | {"criteria": rows}))
    forged = scales.resealed(made)
    metrics = {**made.metrics, "promote": 1.0}
    for each in made.record.config["criteria"] if what != "number" else ():
        metrics[each["name"]] = {**metrics[each["name"]], "holds": 1.0}
    forged = Artifact(forged.path, replace(forged.record, metrics=metrics))
    with pytest.raises(CorruptArtifact, match="contradicts its criteria or its record"):
        read_gate(forged)


@pytest.mark.parametrize("what", ["decision", "candidate", "criteria", "holds", "nothing"])
def test_a_decision_that_contradicts_itself_or_its_record_is_not_believed(
    scales: Scales, what: str
) -> None:
    made, _ = decided(scales)
    path = made.path / "gate.json"
    told = json.loads(path.read_text())
    if what == "decision":
        told["decision"] = "promote"
    elif what == "candidate":
        told["candidate"] = "0" * 16
    elif what == "criteria":
        told |= {"criteria": [], "decision": "promote"}
    elif what == "holds":
        told["decision"] = "promote"
        told["criteria"] = [{**each, "holds": True} for each in told["criteria"]]
    else:
        told = []
    path.write_text(json.dumps(told))
    with pytest.raises(CorruptArtifact):
        read_gate(made)  # the bytes are not those of the record
    resealed = scales.resealed(made)
    with pytest.raises(CorruptArtifact, match="no decision in it"):
        read_gate(resealed)
