"""Jobs over trees, files and arguments; sessions whose /episode outlives their commands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rollout.sandbox.conftest import Blocking, Fresh

from ontogeny.base.errors import InputError
from ontogeny.rollout.policy import together
from ontogeny.rollout.sandbox.job import SITE, Job, Result, Tree, installed
from ontogeny.rollout.sandbox.pool import Sandbox
from ontogeny.rollout.sandbox.session import Session


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small package with a test and a fault."""
    root = tmp_path / "project"
    (root / "area").mkdir(parents=True)
    (root / "area" / "__init__.py").write_text("def area(a, b):\n    return a + b\n")
    (root / "test_area.py").write_text(
        "from area import area\n\n\ndef test_area():\n    assert area(3, 4) == 12\n"
    )
    return root


def in_session(
    fresh: Fresh, work: Callable[[Session], Any], trees: tuple[Tree, ...] = (), **others: Any
) -> Any:
    """What `work` gives within a session."""
    blocking: Blocking = fresh()

    async def run() -> Any:
        async with blocking.sandbox.session(trees=trees, **others) as session:
            return await work(session)

    return blocking.wait(run())


def test_a_job_has_its_files_its_arguments_and_its_input(sandbox: Blocking) -> None:
    result = sandbox.run(
        "import sys, os, helper\n"
        "print(sys.argv[1:], input(), open('data/a.txt').read(), helper.x, os.environ['A'])",
        stdin=b"line\nnext",
        files={"data/a.txt": b"content", "helper.py": b"x = 5"},
        arguments=("-v", "\u00fc"),
        environment={"A": "b"},
    )
    assert result.stdout.decode() == "['-v', '\u00fc'] line content 5 b\n"


@pytest.mark.parametrize(
    "others",
    [
        {"files": {"../x": b""}},
        {"files": {"/etc/x": b""}},
        {"files": {"a/../../x": b""}},
        {"files": {"": b""}},
        {"files": {"main.py": b""}},
        {"files": {"a\0": b""}},
        {"files": {"a/./b": b""}},
        {"arguments": ("a\0b",)},
        {"copies": {"../secret": "x"}},
        {"copies": {"tree": "/usr/x"}},
    ],
)
def test_a_job_that_leads_elsewhere_is_refused(others: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Job("print(1)", **others)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"big": bytes(5 << 20)}, "file_bytes"),
        ({str(n): bytes(3 << 20) for n in range(3)}, "tmp_bytes"),
        ({str(n): b"" for n in range(600)}, "tmp_files"),
        ({"a": b"", "a/b": b""}, "cannot be put into the sandbox: "),
        ({"x" * 300: b""}, "cannot be put into the sandbox: "),
        ({"/episode/x": b""}, "cannot be put into the sandbox: "),
    ],
)
def test_files_that_do_not_fit_are_refused_by_name(
    sandbox: Blocking, files: dict[str, bytes], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        sandbox.run("print('ran')", files=files)
    assert sandbox.run("print(1)").stdout == b"1\n"


def test_a_tree_is_read_only_and_a_copy_of_it_is_not(fresh: Fresh, project: Path) -> None:
    blocking = fresh(trees=[Tree(project, "project")])
    program = """
import os
for path in ("/trees/project/x", "/trees/project/test_area.py"):
    try:
        open(path, "w")
        print("ESCAPED")
    except OSError:
        pass
import area
print(area.area(3, 4))
if os.path.exists("/tmp/mine"):
    open("/tmp/mine/test_area.py", "w").write("")
    print(sorted(os.listdir("/tmp/mine")))
"""
    result = blocking.run(program, paths=("/trees/project",))
    assert result.stdout == b"7\n", result
    result = blocking.run(program, paths=("/tmp/mine",), copies={"project": "mine"})
    assert result.stdout == b"7\n['area', 'test_area.py']\n", result
    assert "assert area" in (project / "test_area.py").read_text()


TEST = "import sys, pytest; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', *sys.argv[1:]]))"
PYTEST = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")


def test_an_episode_edits_tests_and_is_judged_outside_its_reach(
    fresh: Fresh, project: Path
) -> None:
    """The seam of a repository environment, in small."""
    trees = (Tree(project, "project"), *installed(*PYTEST))

    def tests(directory: str, **others: Any) -> Job:
        paths = (directory, SITE)
        return Job(TEST, paths=paths, directory=directory, arguments=(directory,), **others)

    async def episode(session: Session) -> tuple[list[Result], dict[str, bytes]]:
        await session.run(Job("", copies={"project": "/episode/project"}))
        first = await session.run(tests("/episode/project"))
        edit = (
            "path = '/episode/project/area/__init__.py'\n"
            "text = open(path).read().replace('a + b', 'a * b')\n"
            "open(path, 'w').write(text)\n"
            "open('/episode/project/test_area.py', 'w').write('def test(): pass')\n"
            "import os; os.symlink('/etc/passwd', '/episode/project/link')\n"
            "os.mkfifo('/episode/project/pipe')\n"
        )
        await session.run(Job(edit))
        second = await session.run(tests("/episode/project"))
        return [first, second], await session.read("/episode/project")

    (before, after), files = in_session(fresh, episode, trees)
    assert (before.verdict, before.exit_code) == ("error", 1), before
    assert b"1 failed" in before.stdout
    assert after.verdict == "ok", after
    assert sorted(files) == ["area/__init__.py", "test_area.py"]
    # judged in a fresh jail: the package as the agent left it, the tests as they were
    hidden = (project / "test_area.py").read_bytes()
    judged = {f"p/{name}": content for name, content in files.items()} | {"p/test_area.py": hidden}
    blocking = fresh(trees=installed(*PYTEST))
    result = blocking.run(
        TEST, paths=("/tmp/p", SITE), directory="/tmp/p", arguments=("/tmp/p",), files=judged
    )
    assert (result.verdict, b"1 passed" in result.stdout) == ("ok", True), result
    judged["p/area/__init__.py"] = b"import os; os._exit(0)"
    result = blocking.run(
        TEST, paths=("/tmp/p", SITE), directory="/tmp/p", arguments=("/tmp/p",), files=judged
    )
    assert (result.verdict, b"1 passed" in result.stdout) == ("ok", False)


def test_sessions_share_nothing_and_pool_jobs_have_no_work(fresh: Fresh) -> None:
    blocking = fresh()

    async def two() -> list[Any]:
        async with blocking.sandbox.session() as left, blocking.sandbox.session() as right:
            await left.write({"secret": b"left's"})
            await right.run(Job("open('/episode/own', 'w').write('x')"))
            look = Job("import os; print(os.listdir('/episode'), os.listdir('/tmp'))")
            results = await together([left.run(look), right.run(look)])
            return [*(r.stdout for r in results), await left.read()]

    left, right, files = blocking.wait(two())
    assert left == b"['secret'] ['main.py']\n"
    assert right == b"['own'] ['main.py']\n"
    assert files == {"secret": b"left's"}
    assert blocking.run("import os; print(os.path.exists('/episode'))").stdout == b"False\n"


def test_a_session_is_bounded_and_nothing_runs_on_between_its_commands(fresh: Fresh) -> None:
    fill = """
import os, time
if os.fork() == 0:
    os.setsid()
    time.sleep(0.3)
    open("/episode/late", "w")
    os._exit(0)
try:
    for n in range(100): open(f"/episode/{n}", "wb").write(bytes(1 << 20))
except OSError as error:
    print(error.errno)
"""

    async def work(session: Session) -> list[Any]:
        first = await session.run(Job(fill))
        await asyncio.sleep(0.4)
        late = await session.run(Job("import os; print(os.path.exists('/episode/late'))"))
        return [first.stdout, late.stdout, sum(map(len, (await session.read()).values()))]

    full, late, size = in_session(fresh, work, work_bytes=4 << 20)
    assert full == b"28\n"  # ENOSPC
    assert late == b"False\n"
    assert size <= 4 << 20


def test_what_an_agent_leaves_cannot_make_a_reading_lie(fresh: Fresh) -> None:
    mess = """
import os, sys
os.makedirs("/episode/a/b")
open("/episode/a/b/hidden", "w").write("seen")
os.chmod("/episode/a/b/hidden", 0)
os.chmod("/episode/a/b", 0)
os.symlink("/episode", "/episode/loop")
open("/episode/json.py", "w").write("1/0")
open("/episode/sitecustomize.py", "w").write("1/0")
open("/episode/" + "n" * 250, "w")
open(b"/episode/\\xff\\n", "w")
"""

    async def work(session: Session) -> dict[str, bytes]:
        result = await session.run(Job(mess))
        assert result.verdict == "ok", result
        return await session.read()

    files = in_session(fresh, work)
    assert files["a/b/hidden"] == b"seen"
    assert set(files) == {"a/b/hidden", "json.py", "sitecustomize.py", "n" * 250, "\udcff\n"}


def test_a_session_whose_worker_dies_says_so_for_good(fresh: Fresh) -> None:
    async def work(session: Session) -> list[Any]:
        session._worker._lose()
        results = [await session.run(Job("print(1)")) for _ in range(2)]
        return [session.lost, *(result.verdict for result in results)]

    assert in_session(fresh, work) == [True, "lost", "lost"]


def test_installed_shows_a_distribution_and_nothing_beside_it() -> None:
    names = {tree.name for tree in installed("pluggy", "iniconfig")}
    assert "site/pluggy" in names
    assert {name.split("/")[1].split("-")[0] for name in names} == {"pluggy", "iniconfig"}
    with pytest.raises(InputError, match="pip install no-such-thing"):
        installed("no-such-thing")


def test_a_sandbox_runs_nothing_outside_of_async_with() -> None:
    with pytest.raises(AssertionError):
        asyncio.run(Sandbox().run(Job("print(1)")))
