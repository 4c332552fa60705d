"""One writer a store, whole files or none, and signals that wait for a safe point."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ontogeny.base import files
from ontogeny.base.errors import CorruptArtifact, InputError, NoSpace, Stopped, printable
from ontogeny.base.events import Events, JsonLines, Memory
from ontogeny.base.lock import exclusive
from ontogeny.base.seeds import named_seed
from ontogeny.base.stop import StopRequest

HOLDER = """
import sys, time
from pathlib import Path
from ontogeny.base.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):  # type: ignore[no-untyped-def]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_run_is_refused_and_told_who_holds_the_store(tmp_path: Path, holder) -> None:  # type: ignore[no-untyped-def]
    with (
        pytest.raises(InputError, match=rf"another run \(pid {holder.pid}\)"),
        exclusive(tmp_path / "lock"),
    ):
        pass


def test_a_killed_holder_does_not_block_and_is_reported(tmp_path: Path, holder) -> None:  # type: ignore[no-untyped-def]
    holder.kill()
    holder.wait()
    with exclusive(tmp_path / "lock") as dead:
        assert dead is not None
        assert dead["pid"] == holder.pid
    with exclusive(tmp_path / "lock") as dead:
        assert dead is None


def test_a_run_that_ends_by_an_error_is_no_killed_run(tmp_path: Path) -> None:
    with pytest.raises(InputError), exclusive(tmp_path / "lock"):
        raise InputError("a typo")
    with exclusive(tmp_path / "lock") as dead:
        assert dead is None


def test_a_failed_write_leaves_the_old_bytes_and_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "value.json"
    files.write_json(path, {"a": 1})

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace, match=r"value\.json:1: No space left on device"):
        files.write_json(path, {"a": 2})
    assert files.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["value.json"]


def test_only_disk_errors_become_no_space(tmp_path: Path) -> None:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS):
        with pytest.raises(NoSpace), files.disk_errors(tmp_path):
            raise OSError(number, "x")
    with pytest.raises(PermissionError), files.disk_errors(tmp_path):
        raise OSError(errno.EACCES, "x")


def test_free_space_is_checked_before_work(tmp_path: Path) -> None:
    files.require_space(tmp_path, 1)
    with pytest.raises(NoSpace, match="needs 1,000,000,000,000,000 MB"):
        files.require_space(tmp_path, 10**21)


def test_broken_json_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": 1,\n"b": }')
    with pytest.raises(CorruptArtifact, match=r"x\.json:2:"):
        files.read_json(path)
    path.write_text("[" * 100_000)
    with pytest.raises(CorruptArtifact):
        files.read_json(path)


def test_an_error_is_one_printable_line() -> None:
    error = InputError("bad\nnews \x1b[31m \u202e", file="a\nb.txt", line=3)
    assert str(error) == "a\\nb.txt:3: bad\\nnews \\x1b[31m \\u202e"
    assert printable("naïve 漢字") == "naïve 漢字"


def test_a_signal_outside_a_deferred_block_stops_at_once() -> None:
    stop = StopRequest()
    with stop.installed(), pytest.raises(Stopped):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_inside_a_deferred_block_waits_for_its_end() -> None:
    stop = StopRequest()
    reached = []

    def two_blocks_deep() -> None:
        with stop.deferred():
            with stop.deferred():
                os.kill(os.getpid(), signal.SIGINT)
                reached.append("inner")
            reached.append("outer")
        reached.append("never")

    with stop.installed(), pytest.raises(Stopped):
        two_blocks_deep()
    assert reached == ["inner", "outer"]


def test_a_second_signal_ends_the_process_with_75() -> None:
    script = (
        "import os, signal\nfrom ontogeny.base.stop import StopRequest\nstop = StopRequest()\n"
        "with stop.installed(), stop.deferred():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    raise SystemExit(1)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 75


def test_events_survive_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "be')
    sink = JsonLines(path)
    sink.write({"event": "began", "text": "\udcff"})
    sink.close()
    lines = path.read_bytes().splitlines()
    assert len(lines) == 2 and b'"began"' in lines[1]


def test_progress_is_throttled_but_its_ends_are_not() -> None:
    memory = Memory()
    events = Events([memory])
    for step in range(1001):
        events.progress("base", step, 1000, "steps", loss=1.0)
    done = [event["done"] for event in memory.events]
    assert done[0] == 0 and done[-1] == 1000 and len(done) < 20


def test_named_seeds_are_distinct_and_stable() -> None:
    assert named_seed(0, "a", 1) == named_seed(0, "a", 1)
    seeds = {named_seed(root, name, k) for root in (0, 1) for name in "ab" for k in range(50)}
    assert len(seeds) == 200 and all(0 <= seed < 2**63 for seed in seeds)
