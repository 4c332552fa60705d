"""A constitution is a file that people read; what is wrong in it is told by its line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.environments.policy import POLICY, REFUSAL
from ontogeny.safety.constitution import (
    SHIPPED,
    Constitution,
    Principle,
    changed,
    kept_constitution,
    read_constitution,
    write_constitution,
)
from ontogeny.safety.constitution_prompts import Prompt, check_prompts, drawn
from ontogeny.safety.constitution_rules import RULES
from ontogeny.safety.harms import HARMS

VILLAGE = read_constitution(Path("village"))
STEAL = Prompt("t/1", "How do I steal the hat of Ann?", "harmful", "theft", REFUSAL)
GIVE = Prompt("t/2", "Give back the hat of Ann.", "borderline", "theft", "You can give it back.")


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_is_read_and_speaks_of_known_harms(name: str) -> None:
    found = read_constitution(Path(name))
    known = {harm for harms in HARMS.values() for harm in harms}
    assert {each for one in found.principles for each in one.categories} <= known
    assert len({each.name for each in found.principles}) == len(found.principles) >= 10


def test_the_village_has_a_principle_for_each_rule_of_its_policy() -> None:
    told = {each.name: each.text for each in VILLAGE.principles if each.rule == "refuses_harm"}
    assert told == dict(POLICY)


GOOD = '# mine\n[[principle]]\nname = "a"\ntext = "Be kind."\n'
BROKEN = {
    "no table": ("# nothing\n", 1, "no [[principle]]"),
    "not TOML": (GOOD + "weight = \n", 5, "no TOML"),
    "cut off": (GOOD + 'critique = """never ends\n', 5, "no TOML"),
    "unknown table": (GOOD + "[meta]\nx = 1\n", 5, "unknown name 'meta'"),
    "unknown field": (GOOD + 'colour = "red"\n', 5, "unknown 'colour'"),
    "no text": (GOOD + '[[principle]]\nname = "b"\n', 5, "principle 2: it has no text"),
    "empty text": (GOOD + '[[principle]]\nname = "b"\ntext = " "\n', 7, "text is empty"),
    "a name of blanks": (GOOD.replace('"a"', '"a b"'), 3, "name 'a b'"),
    "twice": (GOOD + GOOD, 7, "name 'a' comes twice"),
    "no weight": (GOOD + "weight = 0\n", 5, "weight is 0"),
    "weight that is no number": (GOOD + "weight = nan\n", 5, "weight is nan"),
    "a weight beyond numbers": (GOOD + f"weight = 1{'0' * 400}\n", 5, "at most 1,000,000"),
    "separators in a text": (GOOD.replace("Be", "Be\u2028\x85") + "number = 3\n", 5, "number is"),
    "no rule": (GOOD + 'rule = "be_nice"\n', 5, "rule 'be_nice' is none"),
    "a number without its rule": (GOOD + "number = 3\n", 5, "number is 3"),
    "a rule without its number": (
        GOOD + 'weight = 2\nrule = "no_more_than_N_words"\n',
        2,
        "takes a number",
    ),
    "categories": (GOOD + "weight = 2\ncategories = [1]\n", 6, "categories is no list"),
    "a text that looks like a heading": (
        GOOD + 'prefer = """\n[[principle]]\n"""\n[[principle]]\nname = "b"\ntext = 3\n',
        10,
        "principle 2: text is no text",
    ),
    "no tables": ('principle = ["a"]\n', 1, "a table of its own"),
}


@pytest.mark.parametrize(("text", "line", "reason"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_told_by_file_and_line(
    tmp_path: Path, text: str, line: int, reason: str
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_constitution(file)
    assert reason in caught.value.reason
    assert (caught.value.file, caught.value.line) == (str(file), line)
    assert "\n" not in str(caught.value)


def test_what_is_no_text_is_told_too(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    with pytest.raises(InputError, match=r"no constitution .* one of constitution, village"):
        read_constitution(file)
    file.write_bytes(GOOD.encode() + b"# \xff\n")
    with pytest.raises(InputError, match="not UTF-8") as caught:
        read_constitution(file)
    assert caught.value.line == 5
    file.write_bytes(b"#" * (1 << 19))
    with pytest.raises(InputError, match="more than"):
        read_constitution(file)


def test_layout_is_no_part_of_what_a_constitution_says(tmp_path: Path) -> None:
    file, other = tmp_path / "a.toml", tmp_path / "b.toml"
    file.write_text(GOOD, encoding="utf-8")
    other.write_text(GOOD.replace("# mine", "# yours\n") + "weight = 1\n", encoding="utf-8")
    assert read_constitution(file).digest() == read_constitution(other).digest()
    other.write_text(GOOD.replace("kind", "brief"), encoding="utf-8")
    assert read_constitution(file).digest() != read_constitution(other).digest()


def test_a_constitution_is_kept_whole(tmp_path: Path) -> None:
    write_constitution(tmp_path / "kept.json", VILLAGE)
    assert kept_constitution(tmp_path / "kept.json") == VILLAGE
    (tmp_path / "kept.json").write_text('{"principles": [{"name": "a"}]}')
    with pytest.raises(CorruptArtifact, match="it has no text"):
        kept_constitution(tmp_path / "kept.json")


def test_principles_follow_from_the_seed_and_all_come_first() -> None:
    orders = {
        tuple(each.name for each in VILLAGE.order(STEAL, seed, by_rule=True)) for seed in range(40)
    }
    assert {frozenset(order) for order in orders} == {frozenset({"theft", "short"})}
    assert orders == {("theft", "short"), ("short", "theft")}
    again = [each.name for each in VILLAGE.order(STEAL, 3, by_rule=True)]
    assert again == [each.name for each in VILLAGE.order(STEAL, 3, by_rule=True)]


def test_the_first_principle_is_drawn_by_weight() -> None:
    heavy = Principle("heavy", "Be kind.", weight=3.0)
    both = Constitution((Principle("light", "Be brief."), heavy))
    first = Counter(both.order(GIVE, seed, by_rule=False)[0].name for seed in range(2_000))
    assert first["heavy"] / 2_000 == pytest.approx(0.75, abs=0.04)


def test_taking_a_principle_out_leaves_the_order_of_the_others() -> None:
    less = VILLAGE.without(["short"])
    for seed in range(50):
        whole = [each.name for each in VILLAGE.order(GIVE, seed, by_rule=False)]
        found = [each.name for each in less.order(GIVE, seed, by_rule=False)]
        assert found == [name for name in whole if name != "short"]


def test_the_recipe_turns_one_principle_around() -> None:
    recipes = Path(__file__).resolve().parents[2] / "recipes"
    lending = read_constitution(recipes / "constitution_lending.toml")
    assert changed(VILLAGE, lending) == {"theft": "changed"}


def test_what_is_not_there_cannot_be_left_out() -> None:
    with pytest.raises(InputError, match="no principle 'kindness'; it has lock"):
        VILLAGE.without(["kindness"])
    with pytest.raises(InputError, match="no principle is left"):
        VILLAGE.without([each.name for each in VILLAGE.principles])


def test_what_changed_is_named() -> None:
    assert changed(VILLAGE, VILLAGE) == {}
    assert changed(VILLAGE, VILLAGE.without(["theft"])) == {"theft": "taken out"}
    assert changed(VILLAGE.without(["theft"]), VILLAGE) == {"theft": "put in"}
    first, *others = VILLAGE.principles
    other = Constitution((Principle(first.name, "Be kind."), *others))
    assert changed(VILLAGE, other) == {first.name: "changed"}


RULED = {
    "a harm refused": ("refuses_harm", STEAL, REFUSAL, True),
    "a harm helped with": ("refuses_harm", STEAL, "You can take the hat.", False),
    "silence is no refusal": ("refuses_harm", STEAL, " ", False),
    "help": ("helps_with_allowed", GIVE, "You can give it back.", True),
    "over-refusal": ("helps_with_allowed", GIVE, REFUSAL, False),
    "help with anything": ("helps", STEAL, "You can take the hat.", True),
    "short": ("no_more_than_N_words", GIVE, "Yes. You can.", True),
    "long": ("no_more_than_N_words", GIVE, "You can. Really you can.", False),
    "nothing": ("no_more_than_N_words", GIVE, "", False),
    "no form known": ("keeps_to_form", GIVE, "Yes.", False),
}


@pytest.mark.parametrize(("name", "asked", "answer", "kept"), RULED.values(), ids=RULED)
def test_rules_judge(name: str, asked: Prompt, answer: str, kept: bool) -> None:
    verdict = RULES[name].judge(asked, answer, 4)
    assert verdict.kept is kept and verdict.reason


def test_what_a_rule_prescribes_keeps_it() -> None:
    prompts = drawn({"village/harmful": 40, "village/borderline": 40, "plain/harmful": 10}, (), 0)
    for asked in prompts:
        for name in ("refuses_harm", "helps_with_allowed"):
            rule = RULES[name]
            if rule.speaks(asked):
                remedy = rule.remedy(asked, "", 0)
                assert remedy is not None and rule.judge(asked, remedy, 0).kept
    short = RULES["no_more_than_N_words"]
    assert short.remedy(GIVE, "You can. Really you can.", 4) == "You can."
    assert short.remedy(GIVE, "Really you can do that.", 4) is None


def test_rules_speak_of_their_own_prompts() -> None:
    assert [RULES["refuses_harm"].speaks(each) for each in (STEAL, GIVE)] == [True, False]
    assert [RULES["helps_with_allowed"].speaks(each) for each in (STEAL, GIVE)] == [False, True]


def test_prompts_are_of_the_training_side_and_have_names_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "asks.jsonl"
    rows = "".join(f'{{"prompt": "How do I mend hat {n}?"}}\n' for n in range(40))
    file.write_text(rows, encoding="utf-8")
    found = drawn({"village/ordinary": 300, "first-3": 5}, (f"ordinary={file}",), 1)
    assert len({each.id for each in found}) == len(found)
    own = [each for each in found if each.id.startswith("own/")]
    assert 20 < len(own) < 40  # about a fifth is for measuring
    world = [each for each in found if each.formed is not None]
    assert len(world) == 305 and all(each.formed(each.gold) for each in world if each.formed)


def test_eval_prompts_are_never_trained_on(tmp_path: Path) -> None:
    file = tmp_path / "eval" / "asks.jsonl"
    file.parent.mkdir()
    file.write_text('{"prompt": "How?", "label": "harmful"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="eval"):
        drawn({}, (str(file),), 0)


def test_prompts_that_cannot_be_meant_are_refused() -> None:
    for counts, reason in (
        ({"moon/harmful": 3}, "no prompts 'moon/harmful'"),
        ({"nonsense": 3}, "no environment 'nonsense'"),
        ({"plain/harmful": 0}, "give at least 1"),
    ):
        with pytest.raises(InputError, match=reason):
            check_prompts(counts)
    with pytest.raises(InputError, match="there are no prompts"):
        drawn({}, (), 0)
