"""`ontogeny export` writes what other tools load; `ontogeny verify` finds what was changed."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TinyLife, publish

from ontogeny import bridge
from ontogeny.base.store import Store
from ontogeny.objectives.batch import Batch
from ontogeny.plan.sampling import GREEDY
from ontogeny.rollout.policy import Request, sample_all
from ontogeny.text.message import Message
from ontogeny.text.template import render

QUESTIONS = ("What is 7 plus 5?", "Spell <|end|> for me.", "日本 and\n  two lines")


@pytest.fixture(scope="module")
def bundle(life: TinyLife, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny life's last model, as a user exports it."""
    out = tmp_path_factory.mktemp("export") / "grpo-hf"
    done = export(life, finished, "grpo", out, "--license", "apache-2.0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith(f"is in {out}")
    assert f"AutoModelForCausalLM.from_pretrained('{out}')" in done.stdout
    return out


def export(
    life: TinyLife, store: Path, name: str, out: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    return life.ontogeny(
        *("export", name, "--to", "hf", "--out", str(out), "--store", str(store), *options)
    )


def test_what_was_exported_is_whole(life: TinyLife, bundle: Path, finished: Path) -> None:
    done = life.ontogeny("verify", str(bundle), "--store", str(finished))
    assert done.returncode == 0, done.stderr
    heads = [line.split()[0] for line in done.stdout.splitlines()]
    assert heads == ["files", "load", "evidence", "materials", "card", "store", str(bundle)]
    assert done.stdout.splitlines()[-1].endswith("its card says what its evidence says")


def test_verify_prints_json(life: TinyLife, bundle: Path) -> None:
    found = json.loads(life.ontogeny("verify", str(bundle), "--json").stdout)
    assert found["whole"] is True
    assert [each["name"] for each in found["checks"]] == [
        *("files", "load", "evidence", "materials", "card")
    ]


def test_verify_loads_no_torch(bundle: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from ontogeny.cli.verify_command import Asked, verify\n"
        f"verify(Path({str(bundle)!r}), Asked(None, None), as_json=False)\n"
        "print('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "False"


def test_a_tampered_number_is_one_line_and_exit_3(
    life: TinyLife, bundle: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in bundle.rglob("*"):
        if path.is_file():
            target = other / path.relative_to(bundle)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    card, sums = other / "README.md", other / "SHA256SUMS"
    text = card.read_text()
    found = re.search(r"\| `exam.score` \| \[(\d\.\d+)\]", text)
    assert found is not None
    start, end = found.span(1)
    card.write_text(text[:start] + "0.99999" + text[end:])
    old, new = (hashlib.sha256(each.encode()).hexdigest() for each in (text, card.read_text()))
    sums.write_text(sums.read_text().replace(old, new))
    done = life.ontogeny("verify", str(other))
    assert done.returncode == 3
    line = text.count("\n", 0, start) + 1
    assert done.stderr.startswith(f"error: {card}:{line}: says 0.99999, the evidence (evidence/")
    assert done.stderr.count("\n") == 1


def test_a_bundle_that_a_recipe_made_is_copied(
    life: TinyLife, bundle: Path, tmp_path: Path
) -> None:
    store = Store.create(tmp_path / "life")
    identity = "00000000000000aa"
    payload = store.work / identity / "payload"
    (payload / "evidence").mkdir(parents=True)
    for path in bundle.rglob("*"):
        if path.is_file():
            (payload / path.relative_to(bundle)).write_bytes(path.read_bytes())
    publish(store, payload, "release", "bundle")
    done = export(life, store.root, identity, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for path in bundle.rglob("*"):
        if path.is_file():
            copied = tmp_path / "out" / path.relative_to(bundle)
            assert copied.read_bytes() == path.read_bytes()
    done = export(life, store.root, identity, tmp_path / "other", "--license", "mit")
    assert done.returncode == 2 and "its own licence" in done.stderr


def test_words_of_a_person_are_on_the_card(life: TinyLife, finished: Path, tmp_path: Path) -> None:
    about = tmp_path / "about.md"
    about.write_text("Right: {{ measure/grpo exam.score .1% }}.\r\nFor tests.\r\n")
    done = export(life, finished, "grpo", tmp_path / "out", "--about", str(about))
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "out" / "README.md").read_text()
    assert re.search(r'Right: \[\d+\.\d %\]\(evidence/\w+\.json "metrics/exam.score/', card)
    assert "Whoever made this bundle chose no licence" in card


def test_a_policy_and_a_price_are_a_persons_words(
    life: TinyLife, finished: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.md"
    policy.write_text("# Policy\n\nAsk us: help@example.org\n")
    given = ("--policy", str(policy), "--price-per-hour", "0.4", "--currency", "EUR")
    done = export(life, finished, "grpo", tmp_path / "out", *given)
    assert done.returncode == 0, done.stderr
    assert "is a draft" not in done.stdout
    assert (tmp_path / "out" / "USAGE_POLICY.md").read_text() == policy.read_text()
    costs = (tmp_path / "out" / "COSTS.md").read_text()
    assert '[0.40](prices.json "per_hour ,.2f") [EUR](prices.json "currency s")' in costs


def test_what_the_store_knows_of_attacks_is_on_the_system_card(
    bundle: Path, finished: Path
) -> None:
    text = (bundle / "SYSTEM_CARD.md").read_text()
    for name in ("safety", "attacked", "attacks"):
        assert f"[{name}](evidence/{Store.open(finished).resolve(name).id}.json" in text


def test_a_tampered_system_card_is_one_line_and_exit_3(
    life: TinyLife, bundle: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(bundle, tmp_path / "other"))
    card, sums = other / "SYSTEM_CARD.md", other / "SHA256SUMS"
    text = card.read_text()
    forged = re.sub(r"\*\*\[(held|did not hold)\]", "**[solid as a rock]", text, count=1)
    card.write_text(forged)
    old, new = (hashlib.sha256(each.encode()).hexdigest() for each in (text, forged))
    sums.write_text(sums.read_text().replace(old, new))
    done = life.ontogeny("verify", str(other))
    line = forged[: forged.index("solid as a rock")].count("\n") + 1
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: {card}:{line}: says solid as a rock, the evidence")
    assert done.stderr.count("\n") == 1


MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "another format": (("grpo", "--to", "onnx"), "format 'onnx' is not known"),
    "no such artifact": (("nothing",), "no artifact is called 'nothing'"),
    "no model": (("corpus",), "'corpus' is a corpus; give a model or a bundle"),
    "a licence of no form": (("grpo", "--license", "My Own"), "license is 'My Own'"),
    "a price of nothing": (("grpo", "--price-per-hour", "0.4"), "give both, or neither"),
    "a price below 0": (
        ("grpo", "--price-per-hour", "-1", "--currency", "EUR"),
        "give a number above 0",
    ),
    "a currency of no form": (
        ("grpo", "--price-per-hour", "1", "--currency", "Euro"),
        "currency is 'Euro'",
    ),
    "a policy for a gguf": (("grpo", "--to", "gguf", "--policy", "x.md"), "--policy is for"),
    "no such policy": (("grpo", "--policy", "nowhere.md"), "nowhere.md:1: cannot be read"),
    "no such words": (("grpo", "--about", "nowhere.md"), "nowhere.md:1: cannot be read"),
}


@pytest.mark.parametrize(("arguments", "reason"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_line_and_leaves_nothing(
    life: TinyLife, finished: Path, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    options = ("--out", str(tmp_path / "out"), "--store", str(finished))
    done = life.ontogeny("export", *arguments, *options)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_bare_number_in_a_persons_words_is_named_by_its_line(
    life: TinyLife, finished: Path, tmp_path: Path
) -> None:
    about = tmp_path / "about.md"
    about.write_text("Fine.\n\nIt scores 0.97.\n")
    done = export(life, finished, "grpo", tmp_path / "out", "--about", str(about))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {about}:3: the number '0.97' has no evidence")
    assert list(tmp_path.iterdir()) == [about]


def test_a_directory_in_use_is_not_touched(life: TinyLife, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    done = export(life, finished, "grpo", tmp_path)
    assert done.returncode == 2 and "is already there" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_empty_directory_is_filled(life: TinyLife, finished: Path, tmp_path: Path) -> None:
    done = export(life, finished, "base", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "continues text" in (tmp_path / "README.md").read_text()


def test_a_full_disk_leaves_nothing(life: TinyLife, finished: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ontogeny", "export", "grpo", "--store", str(finished)]
    script = (
        "import resource, signal, os, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command, "--out", str(tmp_path / "out")],
        env=life.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# What other tools make of it.


@pytest.fixture(scope="module")
def theirs(bundle: Path) -> Any:
    """The bundle in stock transformers: tokenizer and model."""
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(bundle)
    return tokenizer, transformers.AutoModelForCausalLM.from_pretrained(bundle).eval()


@pytest.fixture(scope="module")
def ours(finished: Path) -> Any:
    """The artifact behind our engine: policy, tokenizer and model."""
    policy, tokenizer = bridge.load_policy(Store.open(finished).resolve("grpo"), slots=4)
    return policy, tokenizer, policy.engine.model


@pytest.mark.parity
def test_ids_equal_ours(theirs: Any, ours: Any) -> None:
    for text in QUESTIONS:
        assert theirs[0](text, split_special_tokens=True)["input_ids"] == ours[1].encode(text)
    for text in (QUESTIONS[0], QUESTIONS[2]):
        asked = theirs[0].apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True
        )["input_ids"]
        turn = [Message("user", text)]
        assert asked == list(render(turn, ours[1], generation_prompt=True).ids)


@pytest.mark.parity
def test_logits_equal_ours(theirs: Any, ours: Any) -> None:
    model = ours[2]
    size = (3, model.shape.context)
    tokens = torch.randint(model.shape.vocab_size, size, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = theirs[1](tokens).logits
        found = model.logits(Batch(tokens, tokens, torch.ones(size)))
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.parity
def test_greedy_tokens_equal_ours(theirs: Any, ours: Any) -> None:
    policy, tokenizer, _ = ours
    prompts = [
        render([Message("user", text)], tokenizer, generation_prompt=True).ids for text in QUESTIONS
    ]
    stop = (tokenizer.end_of_turn, tokenizer.end_of_text)
    requests = [Request(prompt, 24, GREEDY, stop=stop) for prompt in prompts]
    for prompt, completion in zip(prompts, sample_all(policy, requests), strict=True):
        answer = theirs[1].generate(
            torch.tensor([prompt]),
            max_new_tokens=24,
            do_sample=False,
            temperature=None,
            top_p=None,
        )
        assert answer[0, len(prompt) :].tolist() == list(completion.ids)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["grpo", "base"])
def test_the_example_on_the_card_runs_without_a_warning(
    life: TinyLife, finished: Path, tmp_path: Path, name: str
) -> None:
    pytest.importorskip("transformers")
    out = tmp_path / name
    assert export(life, finished, name, out).returncode == 0
    card = (out / "README.md").read_text()
    example = card.split("```python\n")[1].split("```")[0]
    script = f"import warnings\nwarnings.simplefilter('error')\n{example}"
    environment = {**os.environ, "TRANSFORMERS_VERBOSITY": "warning", "HF_HUB_OFFLINE": "1"}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=out,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
