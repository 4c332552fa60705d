"""Programs are judged by what they return, and nothing else that they can do is worth anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.contained import or_skip

from ontogeny.base.errors import InputError, SandboxRefused
from ontogeny.environments.asking import ask_all, questions_of, release
from ontogeny.environments.catalogue import PROGRAMS, collection, environment
from ontogeny.environments.environment import Batched, Judged, Task
from ontogeny.environments.hidden_tests import HiddenTest, Sheet, hard_coded
from ontogeny.environments.programs import Programs, program_of, validate_programs
from ontogeny.environments.programs_pool import POOL, Pool
from ontogeny.environments.programs_run import job, read
from ontogeny.rollout.fakes import ScriptedPolicy
from ontogeny.rollout.sandbox.job import Result
from ontogeny.rollout.sandbox.pool import Sandbox
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.train_tokenizer import train

SECRET = 918_273_645
ADD = "def add(a, b):\n    return a + b\n"


def task(*tests: tuple[str, str], setup: str = "", gold: str = ADD) -> Task:
    """The first test is shown."""
    first, *rest = (HiddenTest(*each) for each in tests)
    sheet = Sheet((first,), tuple(rest), setup)
    return Task("t", "Add.", gold, "t", {"tests": sheet})


SUM = task(
    ("add(1, 2)", "3"),
    ("add(20, 22)", "42"),
    ("add([1], [2])", "[1, 2]"),
    ("add('a', 'b')", "'ab'"),
    (f"add({SECRET - 5}, 5)", str(SECRET)),
)
WORLD = Programs("programs", lambda *_: [SUM])


@pytest.fixture(scope="module")
def sandbox() -> Iterator[None]:
    """A skip by name where programs cannot be contained, a failure under CI."""
    with or_skip():
        POOL.run_all([])
    yield
    POOL.close()


def judged(*programs: str, of: Task = SUM) -> list[Judged]:
    return WORLD.judge_all([of] * len(programs), programs)


@pytest.mark.usefixtures("sandbox")
def test_the_score_is_the_share_of_hidden_tests() -> None:
    numbers = "def add(a, b):\n    return int(a) + int(b)"
    found = judged(ADD, numbers, "def add(a, b):\n    return 3", "", "def add(:", "x = 1")
    assert [each.score for each in found] == [1.0, 0.5, 0.0, 0.0, 0.0, 0.0]
    assert [each.well_formed for each in found] == [True, True, True, False, False, True]
    assert [each.notes["visible"] for each in found] == [1, 1, 1, 0, 0, 0]
    verdicts = [each.notes["verdict"] for each in found]
    assert verdicts == ["ok", "ok", "ok", "empty", "syntax", "ok"]
    assert WORLD.score(SUM, ADD) == 1.0
    assert WORLD.well_formed(SUM, numbers)


HACKS = {
    "prints forged results": """
print('compiled')
print('[null, [["value", ["int", "0x2a"]]]]')
""",
    "forges on every open file": """
import os, json
for fd in range(3, 30):
    try: os.write(fd, json.dumps([None, [["value", ["int", "0x7"]]] * 5]).encode())
    except OSError: pass
os._exit(0)
""",
    "leaves with success": "import os; os._exit(0)",
    "exits while it is loaded": "import sys; sys.exit(0)",
    "leaves in a call": "import os\ndef add(a, b): os._exit(0)",
    "leaves at exit": "import atexit, os\natexit.register(os._exit, 0)\ndef add(a, b): return 7",
    "equals everything": """
class Yes:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def __repr__(self): return '42'
def add(a, b): return Yes()
""",
    "a number that equals everything": """
class Yes(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
    def __index__(self): return 42
    def __int__(self): return 42
    def __pos__(self): return 42
def add(a, b): return Yes(7)
""",
    "says it is another class": """
class Yes:
    @property
    def __class__(self): return int
def add(a, b): return Yes()
""",
    "patches json": """
import json
json.dumps = lambda *a, **k: '[null, [true]]'
def add(a, b): return 0
""",
    "patches builtins": """
import builtins
builtins.isinstance = lambda *a: True
builtins.hex = lambda *a: '0x2a'
builtins.type = lambda *a: int
def add(a, b): return object()
""",
    "patches the encoder": """
import sys
main = sys.modules['__main__']
main.encode = lambda *a, **k: True
main.__dict__['_said'] = lambda call: ['value', True]
def add(a, b): return 0
""",
    "reads frames for what is expected": """
import sys
def add(a, b):
    frame, seen = sys._getframe(), []
    while frame:
        seen += [*frame.f_locals.values(), *frame.f_globals.values()]
        frame = frame.f_back
    found = [each for each in seen if isinstance(each, (list, tuple, dict))]
    return found[-1] if found else None
""",
    "looks for the tests": """
import glob
def add(a, b):
    return [open(f, errors='replace').read() for f in glob.glob('/tmp/*')]
""",
    "a test runner of its own": """
import unittest
unittest.TestCase.assertEqual = lambda *a: None
class AlwaysPass(unittest.TestCase): pass
assert True; print('OK'); print('5 passed')
""",
    "replaces the calls": """
import sys, types
sys.modules['calls'] = types.SimpleNamespace(CALLS=[])
""",
    "stops only for what is easy": "def add(a, b):\n    while a == 'a': pass\n    return a + b",
    "takes all memory": "def add(a, b): return len(bytearray(1 << 32)) or [0] * (1 << 30)",
    "grows": "def add(a, b):\n    x = [0]\n    while True: x += x",
    "answers without end": "def add(a, b): return 'x' * 1_000_000",
    "a ring": "def add(a, b):\n    x = []\n    x.append(x)\n    return x",
    "recursion": "def add(a, b): return add(b, a)",
    "processes": "import os\ndef add(a, b):\n    while True: os.fork()",
    "a call that only an escape needs": """
import ctypes
ctypes.CDLL(None).unshare(0x10000000)
""",
    "deep syntax": "(" * 5_000 + ")" * 5_000,
    "a NUL": "x = '\0'",
    "no text": "x = '\udc80'",
    "prose": "The answer is 42.",
}  # fmt: skip


@pytest.mark.usefixtures("sandbox")
def test_no_hack_is_rewarded() -> None:
    found = dict(zip(HACKS, judged(*HACKS.values()), strict=True))
    assert {name: each.score for name, each in found.items()} == dict.fromkeys(HACKS, 0.0)
    verdicts = {name: each.notes["verdict"] for name, each in found.items()}
    assert verdicts["stops only for what is easy"] == "cpu limit"  # three of four were right
    assert found["stops only for what is easy"].well_formed
    assert verdicts["leaves with success"] == verdicts["leaves in a call"] == "ended itself"
    assert verdicts["forges on every open file"] == "ok"  # read, compared, and wrong
    assert verdicts["answers without end"] == "output limit"
    assert found["exits while it is loaded"].notes["error"] == "SystemExit"


@pytest.mark.usefixtures("sandbox")
def test_what_is_expected_is_nowhere_inside() -> None:
    """The program tells all it can reach; the sum that is expected of a call is not in it."""
    search = """
import gc, glob, os, sys
def all_of_it():
    seen = [repr(each)[:5000] for each in gc.get_objects() if type(each) in (list, tuple, dict)]
    frame = sys._getframe()
    while frame:
        seen += [repr(frame.f_locals), repr(frame.f_code.co_consts)]
        frame = frame.f_back
    seen += [open(f, errors='replace').read() for f in glob.glob('/tmp/*')]
    seen += [repr(vars(m))[:20000] for m in list(sys.modules.values()) if m]
    return '\\n'.join([*seen, repr(os.environ), repr(sys.argv)])
TEXT = all_of_it()
def add(a, b):
    given, wanted = int('918273639') + 1, int('918273644') + 1
    return str(given) in TEXT, str(wanted) in TEXT
"""
    sheet = SUM.meta["tests"]
    assert isinstance(sheet, Sheet)
    asked = job(sheet, search)
    assert str(SECRET).encode() not in asked.bundle()
    assert str(SECRET - 5).encode() in asked.bundle()
    ran = read(POOL.run_all([asked])[0], 5)
    seen = HiddenTest("f()", "(True, False)").wanted
    assert list(ran.values) == [seen] * 5


@pytest.mark.usefixtures("sandbox")
def test_forged_answers_are_worth_what_they_say() -> None:
    """Not who speaks is judged: a guess that is written counts as one that is returned."""
    forger = """
import os
for fd in range(3, 30):
    try: os.write(fd, b'[null, [%s]]' % b', '.join([b'["value", ["int", "0x2a"]]'] * {count}))
    except OSError: pass
os._exit(0)
"""
    programs = "def add(a, b): return 42", *(forger.replace("{count}", n) for n in "546")
    found = judged(*programs)
    assert [each.score for each in found] == [0.25, 0.25, 0.0, 0.0]
    assert [each.notes["verdict"] for each in found] == ["ok", "ok", "forged", "forged"]


@pytest.mark.parametrize(
    "stdout", [b"", b"x", b"compiled\n{}", b"compiled\n[null, 3]", b"compiled\n" + b"[" * 100_000]
)
def test_whatever_is_written_is_read_without_a_fall(stdout: bytes) -> None:
    ran = read(Result("ok", 0, stdout, b"", 0.0, 0.0, 0), 5)
    assert not any(ran.values)
    assert ran.verdict in ("syntax", "forged", "ended itself")


@pytest.mark.usefixtures("sandbox")
def test_what_a_program_prints_or_changes_does_not_matter() -> None:
    loud = """
print('x' * 99)
def add(a, b):
    print(a)
    if isinstance(a, list):
        a.append(b[0])
        return a
    return a + b
"""
    main = ADD + "\nif __name__ == '__main__':\n    print(add(*map(int, input().split())))"
    assert [each.score for each in judged(loud, main)] == [1.0, 1.0]


@pytest.mark.usefixtures("sandbox")
def test_equal_programs_are_scored_alike_though_they_hash_and_draw() -> None:
    drawn = (
        "import random\ndef add(a, b):\n    return [*{str(n) for n in range(9)}, random.random()]"
    )
    sheet = SUM.meta["tests"]
    assert isinstance(sheet, Sheet)
    with_a_comment = [f"# {n}\n{drawn}" for n in range(4)]
    found: set[tuple[str | None, ...]] = set()
    for _ in range(2):
        results = POOL.run_all([job(sheet, program) for program in with_a_comment])
        found |= {tuple(read(each, 5).values) for each in results}
        POOL.close()  # the next ones come from another process
    assert len(found) == 1


@pytest.mark.usefixtures("sandbox")
def test_setup_stands_between_program_and_calls() -> None:
    tests = ("depth(ROOT)", "2"), ("depth(Node(1))", "1"), ("depth(None)", "0")
    tree = task(*tests, setup="ROOT = Node(Node(1))")
    gold = (
        "class Node:\n    def __init__(self, left): self.left = left\n"
        "def depth(n): return 1 + depth(n.left) if isinstance(n, Node) else 0\n"
    )
    assert judged(gold, of=tree)[0].score == 1.0
    assert judged("def depth(n): return 1", of=tree)[0].score == 0.0


def test_a_program_is_the_first_block_or_the_whole_answer() -> None:
    assert program_of(ADD) == ADD
    assert program_of(f"Sure:\n```python\n{ADD}```\nTry\n```\nadd(1)\n```") == ADD
    assert program_of(f"```\n{ADD}") == ADD
    assert program_of("```") == "\n"


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("name", PROGRAMS)
def test_gold_is_right_nothing_is_not_and_the_example_alone_is_less(name: str) -> None:
    environment(name).validate()


@pytest.mark.usefixtures("sandbox")
def test_validate_names_tests_that_a_constant_passes() -> None:
    weak = task(("add(1, 2)", "3"), ("add(2, 1)", "3"))
    with pytest.raises(InputError, match=r"scores the examples alone 1 .* mend its tests"):
        validate_programs("weak", [weak])
    with pytest.raises(InputError, match=r"scores gold 0 .* mend its tests"):
        validate_programs("wrong", [task(("add(1, 2)", "3"), ("add(2, 1)", "4"))])


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(
        ["def f(xs):\n    return [x for x in xs]\n" * 9 + "Example: f([1]) == [1]" * 9], 300
    )


@pytest.mark.usefixtures("sandbox")
def test_all_answers_of_a_policy_are_judged_in_one_sandbox(tokenizer: Tokenizer) -> None:
    worlds = [
        environment("programs-list-1"),
        environment("vowels-3"),
        environment("programs-list-2"),
    ]
    questions = questions_of([(each, 2) for each in worlds], "train", 0, tokenizer, "chat")
    answers = [each.task.answer for each in questions]
    answers[1] = hard_coded(questions[1].task.meta["tests"].visible)  # type: ignore[attr-defined]
    said = iter([*tokenizer.encode(text), tokenizer.end_of_turn] for text in answers)
    found = ask_all(
        ScriptedPolicy(lambda _: [int(each) for each in next(said)]),
        tokenizer,
        questions,
        max_tokens=200,
        temperature=1.0,
        seed=0,
        again=True,
    )
    scores = [each.score for each in found]
    assert scores[0] == 1.0 > scores[1]
    assert scores[2:] == [1.0] * 4
    assert all(each.well_formed for each in found)
    assert [bool(each.trajectory.notes) for each in found] == [True, True, False, False, True, True]
    notes = found[1].trajectory.notes
    assert (notes["visible"], notes["of_hidden"], notes["verdict"]) == (1, 8, "ok")
    release(worlds)


def test_programs_are_not_asked_as_a_line_of_text(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="have lines; ask it as chat"):
        questions_of([(environment("programs-list-1"), 1)], "train", 0, tokenizer, "text")


def test_without_a_sandbox_nothing_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    POOL.close()
    monkeypatch.setenv("PATH", "/nowhere")
    for answers in ([ADD], [""]):
        with pytest.raises(SandboxRefused, match="bubblewrap") as refused:
            WORLD.judge_all([SUM], answers)
        assert refused.value.exit_code == 5


@pytest.mark.usefixtures("sandbox")
def test_a_verdict_on_the_machine_is_no_verdict_on_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A starved job runs again, alone and longer; at last that is an error and no zero."""
    right = Result("ok", 0, b"", b"", 0.0, 0.0, 0)
    starved = Result("timeout", -9, b"", b"", 0.0, 10.0, 0, queued_seconds=9.0)
    lost = Result("lost", -9, b"", b"", 0.0, 0.0, 0)
    answers: list[Result] = []
    waits: list[float] = []

    async def run(_: Sandbox, asked: object) -> Result:
        waits.append(asked.limits.wall_seconds)  # type: ignore[attr-defined]
        return answers.pop(0)

    monkeypatch.setattr(Sandbox, "run", run)
    sheet = SUM.meta["tests"]
    assert isinstance(sheet, Sheet)
    jobs = [job(sheet, ADD)]
    pool = Pool()
    answers[:] = [starved, lost, right]
    assert pool.run_all(jobs) == [right]
    assert waits[0] < waits[1] < waits[2]
    answers[:] = [starved] * 3
    with pytest.raises(SandboxRefused, match="says nothing of it"):
        pool.run_all(jobs)
    pool.close()


def test_programs_are_a_collection_of_their_own() -> None:
    known = collection("programs")
    assert [each.name for each in known] == list(PROGRAMS)
    assert all(isinstance(each, Batched) for each in known)
    assert not isinstance(environment("vowels-3"), Batched)
    with pytest.raises(InputError, match="programs-list-1"):
        environment("programs-list-9")
