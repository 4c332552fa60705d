"""The data file is whole, honest about its sources, and arithmetic finds its published figures."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from ontogeny.base.errors import InputError
from ontogeny.plan.architecture import Architecture, Experts, Latent
from ontogeny.plan.checks import (
    FLOPS_TOLERANCE,
    PARAMETERS_TOLERANCE,
    Check,
    checks,
    expected_hours,
    flops_with_attention,
    utilisation,
)
from ontogeny.plan.published import (
    FILE,
    Checked,
    Figure,
    Kind,
    Mixture,
    PublishedRun,
    PublishedStage,
    Standing,
    find,
    library,
)

RUNS = library().runs
KEYS = {"parameters": "parameters", "active": "active_parameters", "GPU hours": "gpu_hours"}
COMPARED = [(run, each) for run in RUNS for each in checks(run) if each.difference is not None]
NAMED = {(run.name, key) for run in RUNS for key in run.outliers}


def _key(check: Check) -> str:
    return KEYS.get(check.what, "flops")


def _id(value: object) -> str:
    return value.slug if isinstance(value, PublishedRun) else getattr(value, "what", "")


@pytest.mark.parametrize(("run", "check"), COMPARED, ids=_id)
def test_a_published_figure_is_computed_within_its_tolerance_unless_named(
    run: PublishedRun, check: Check
) -> None:
    assert check.difference is not None
    outside = abs(check.difference) > check.tolerance
    assert outside == bool(check.outlier), (run.name, check.what, check.difference)


def test_every_named_outlier_is_one_that_was_compared() -> None:
    assert {(run.name, _key(check)) for run, check in COMPARED if check.outlier} == NAMED
    assert sorted(f"{name}: {key}" for name, key in NAMED) == [
        "DeepSeek-R1: active_parameters",
        "DeepSeek-V2: active_parameters",
        "DeepSeek-V3: active_parameters",
        "Gopher-280B: flops",
        "Kimi-K2: active_parameters",
        "Kimi-K2: parameters",
        "Llama-3.1-8B: gpu_hours",
        "Llama-3.2-1B: gpu_hours",
        "Llama-3.2-3B: gpu_hours",
        "Nemotron-4-340B: gpu_hours",
        "OPT-175B: flops",
        "Pythia-1B: gpu_hours",
        "Qwen3-235B-A22B: active_parameters",
        "Qwen3-30B-A3B: active_parameters",
        "SmolLM2-1.7B: flops",
        "gpt-oss-120b: active_parameters",
        "nanochat-d24: flops",
    ]


def test_the_tolerances_are_those_that_the_documents_promise() -> None:
    assert (PARAMETERS_TOLERANCE, FLOPS_TOLERANCE) == (0.005, 0.05)
    known = {name: each.tolerance for name, each in library().hours_classes.items()}
    assert known == {
        "a100-long": 0.2,
        "a100-175b": 0.2,
        "h100-long": 0.45,
        "h100-short": 0.2,
        "h100-small": 0.45,
    }


def test_enough_is_compared() -> None:
    counts = {key: sum(_key(check) == key for _, check in COMPARED) for key in KEYS.values()}
    assert counts["parameters"] >= 60
    assert counts["gpu_hours"] >= 25
    assert sum(_key(check) == "flops" for _, check in COMPARED) >= 10


def test_active_parameters_hit_what_is_printed_once_the_input_embedding_is_left_out() -> None:
    for name, printed in (("deepseek-v2", 21e9), ("deepseek-v3", 37e9), ("gpt-oss-120b", 5.13e9)):
        built = find(name).architecture
        assert built is not None
        without = built.active_parameters() - built.vocab * built.hidden
        assert without == pytest.approx(printed, abs=0.5e9 if printed > 10e9 else 0.005e9)


def test_nanochat_is_exact_by_its_own_formula() -> None:
    flops = flops_with_attention(find("nanochat-d24"))
    assert flops == pytest.approx(4.330784131e19, rel=1e-4)


def test_opt_counted_its_activations_twice() -> None:
    check = next(each for each in checks(find("opt-175b")) if each.what.startswith("FLOPs"))
    assert check.computed is not None and check.published is not None
    assert check.computed * 8 / 6 == pytest.approx(check.published.value, rel=FLOPS_TOLERANCE)


@pytest.mark.parametrize(
    ("name", "hours"), [("llama-2-70b", 1.646e6), ("smollm3-3b", 2.071e5), ("dclm-7b-1x", 3650)]
)
def test_hours_are_foretold_by_the_other_runs_of_the_class(name: str, hours: float) -> None:
    assert expected_hours(find(name)) == pytest.approx(hours, rel=0.001)


def test_a_run_is_not_foretold_from_itself() -> None:
    first, second = find("opt-175b"), find("bloom-176b")
    used = utilisation(second)
    hours = expected_hours(first)
    assert used == pytest.approx(0.318, abs=0.001)
    assert hours is not None and used is not None
    assert 6 * 174.6e9 * 300e9 / (hours * 3600 * 312e12) == pytest.approx(used, rel=0.001)


def _nested(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if _list(value) else ()
    for key, each in inner:
        yield from _nested(each, f"{path}.{key}")


def _list(value: Any) -> bool:
    return isinstance(value, list)


FORMS = (Figure, Mixture, Kind, PublishedStage, PublishedRun, Architecture, Experts, Latent)


def test_no_field_of_the_file_is_lost_in_reading() -> None:
    raw = json.loads(FILE.read_text(encoding="utf-8"))
    forms = [{each.name for each in dataclasses.fields(form)} for form in FORMS]
    for path, value in _nested(raw["runs"]):
        if isinstance(value, dict) and not path.endswith(".outliers"):
            assert any(set(value) <= form for form in forms), path


def _figures() -> Iterator[tuple[str, Figure | Mixture]]:
    for run in RUNS:
        for figure in (run.parameters, run.active_parameters):
            if figure is not None:
                yield run.name, figure
        for stage in run.stages:
            found = (stage.tokens, *stage.examples, stage.data, *stage.compute)
            yield from ((run.name, each) for each in found if each is not None)


def test_every_figure_has_a_standing_and_a_source() -> None:
    assert set(library().standings) == set(get_args(Standing))
    assert set(library().checked) == set(get_args(Checked))
    for name, figure in _figures():
        assert len(figure.source) > 3, name
        if isinstance(figure, Figure):
            assert figure.value > 0 and figure.unit, name


def test_what_is_derived_says_from_what() -> None:
    for name, figure in _figures():
        if figure.standing == "derived":
            assert any(sign in figure.source for sign in (" x ", " and ", " less ")), (name, figure)
        if figure.standing == "estimated":
            assert "taken for" in figure.source, (name, figure)


def test_shares_of_a_mixture_are_of_one_whole() -> None:
    for run in RUNS:
        for stage in run.stages:
            shares = [each.share for each in stage.data.kinds] if stage.data else []
            known = [each for each in shares if each is not None]
            if known:
                assert len(known) == len(shares)
                assert sum(known) == pytest.approx(1, abs=0.011), (run.name, stage.name)


def test_the_labs_that_matter_are_there_and_say_what_they_do_not_publish() -> None:
    labs = {run.lab for run in RUNS}
    assert {"Meta", "OpenAI", "Anthropic", "Qwen", "DeepSeek", "Mistral", "Ai2"} <= labs
    for name in ("gpt-4", "claude-3", "magistral-medium"):
        run = find(name)
        assert run.parameters is None and run.architecture is None
        assert all(not stage.tokens and not stage.compute for stage in run.stages)
    assert find("mistral-7b").stages[0].tokens is None
    assert find("constitutional-ai").stages[1].examples[0].value == 42496


def test_the_file_names_no_machine() -> None:
    text = FILE.read_text(encoding="utf-8").lower()
    assert not [word for word in ("/work", "shared/", "http", "/tmp", "facts.md") if word in text]


def test_names_are_distinct_and_forgiving() -> None:
    assert len({run.slug.replace("-", "").replace(".", "") for run in RUNS}) == len(RUNS)
    for run in RUNS:
        assert find(run.slug) is run
    for spelling in ("llama-3.1-405b", "Llama 3.1 405B", "llama31-405b", "LLAMA_3_1_405B"):
        assert find(spelling).name == "Llama-3.1-405B"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("anthropic", "of this lab there are constitutional-ai, claude-3"),
        ("deepsek-v3", "near it are deepseek-v3"),
        ("405b", "near it are llama-3.1-405b"),
        ("", "--list"),
        ("zzzzzz", "--list"),
    ],
)
def test_an_unknown_name_is_one_line_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(InputError) as caught:
        find(name)
    assert near in caught.value.reason and "\n" not in str(caught.value)
