"""Jobs see nothing of one another, of the host's secrets or of earlier jobs, and leave nothing."""

from __future__ import annotations

import dataclasses
import os

import pytest
from rollout.sandbox.attacks import TRY
from rollout.sandbox.conftest import LIMITS, Blocking, Fresh
from rollout.sandbox.processes import zygote

from ontogeny.rollout.policy import together
from ontogeny.rollout.sandbox.job import Job
from ontogeny.rollout.sandbox.limits import MEGABYTE

SEARCH = """
import gc, os, sys
word = sys.argv[1]  # every second letter: the whole never stands in this program's memory
found = set()
for number in range(1, 100):
    try: frame = sys._getframe(number)
    except ValueError: break
    for part in list(frame.f_locals.values()) + list(frame.f_globals.values()):
        if word in repr(part)[::2] or word in repr(part)[1::2]: found.add("frame")
memory = os.open("/proc/self/mem", os.O_RDONLY)
for line in open("/proc/self/maps"):
    start, end = (int(n, 16) for n in line.split()[0].split("-"))
    if "r" not in line.split()[1] or "[v" in line: continue
    for place in range(start, end, 1 << 20):
        try: block = os.pread(memory, min((1 << 20) + 64, end - place), place)
        except OSError: continue
        for which in (0, 1):
            if word.encode() in block[which::2]: found.add("memory")
print(sorted(found), len(gc.get_objects()) > 100)
"""


def searched(sandbox: Blocking, secret: str, planted: str = "") -> bytes:
    """What a program that looks through all of its memory finds."""
    result = sandbox.run(planted + SEARCH, arguments=(secret[::2],))
    assert result.verdict == "ok", result
    return result.stdout


def test_a_secret_of_an_earlier_job_or_of_the_host_is_nowhere(sandbox: Blocking) -> None:
    secret = "expected" + os.urandom(12).hex()  # as hidden tests would lie in the host's memory
    seen = sandbox.run(f"word = {secret!r}\nprint(input(), word)", stdin=secret.encode())
    assert seen.stdout.count(secret.encode()) == 2
    assert searched(sandbox, secret) == b"[] True\n"
    planted = f"planted = {secret!r}\n"  # and where it is, the search sees it
    assert searched(sandbox, secret, planted) == b"['frame', 'memory'] True\n"


def test_a_job_finds_nothing_of_the_one_before(sandbox: Blocking) -> None:
    first = """
import builtins, os, sys, json, signal, resource
builtins.print = None
os.environ["LEFT"] = "x"
sys.path.insert(0, "/tmp/left")
sys.modules["left"] = sys
json.loads = None
os.makedirs("/tmp/left/deep")
open("/tmp/left/json.py", "w").write("left")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
os.umask(0o777)
os.chdir("/tmp/left")
"""
    assert sandbox.run(first).verdict == "ok"
    second = """
import json, os, sys, signal, resource
print(os.listdir("/tmp"), os.environ.get("LEFT"), "left" in sys.modules, json.loads("1"),
      os.getcwd(), signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, os.umask(0) == 0o22,
      resource.getrlimit(resource.RLIMIT_CPU)[1] > 1)
"""
    answer = sandbox.run(second).stdout
    assert answer == b"['main.py'] None False 1 /tmp True True True\n", answer


def test_a_job_is_told_nothing_but_its_own(sandbox: Blocking) -> None:
    told = sandbox.run("import os, sys; print(sorted(os.environ), sys.argv, os.listdir('/tmp'))")
    assert (
        told.stdout
        == (
            b"['HOME', 'LANG', 'PATH', 'PWD', 'PYTHONDONTWRITEBYTECODE', 'PYTHONHASHSEED', "
            b"'TMPDIR'] "
            b"['/tmp/main.py'] ['main.py']\n"
        )
        or b"LD_LIBRARY_PATH" in told.stdout
    )


def test_forging_success_earns_nothing(sandbox: Blocking) -> None:
    """A verdict is no reward: what a program returns is compared outside."""
    expected = b"1764\n"
    forged = [
        "print('PASS')",
        "import os; os._exit(0)",
        "import sys; sys.exit(0)",
        "import atexit, os; atexit.register(os._exit, 0); 1/0",
        "print('K'); print('ok'); print({'verdict': 'ok', 'reward': 1.0})",
        "import os; [os.write(fd, b'K') for fd in (1, 2)]",
        "import unittest; unittest.TestCase.assertEqual = lambda *a: None; unittest.main()",
        "import sys; print(open(sys.argv[0]).read())",
    ]
    results = [sandbox.run(program) for program in forged]
    assert not [r for r in results if r.verdict == "ok" and r.stdout == expected]
    honest = sandbox.run("print(42 * 42)")
    assert (honest.verdict, honest.stdout) == ("ok", expected)


def test_many_processes_that_hold_much_meet_the_memory_limit(fresh: Fresh) -> None:
    limits = dataclasses.replace(LIMITS, memory_bytes=100 * MEGABYTE, wall_seconds=10.0)
    bomb = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        held = bytearray(60 << 20)
        for place in range(0, len(held), 4096): held[place] = 1
        time.sleep(1)
        os._exit(0)
time.sleep(1)
"""
    blocking = fresh(limits)
    result = blocking.run(bomb)
    if blocking.sandbox.tier == 1:
        assert result.verdict == "memory limit", result
    after = blocking.run("print(1)")
    assert (after.verdict, after.stdout) == ("ok", b"1\n")


def test_everything_of_a_job_is_dead_when_its_verdict_is_given(fresh: Fresh) -> None:
    blocking = fresh()
    before = blocking.processes()
    daemon = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 100)
        time.sleep(3600)
time.sleep(0.1)
"""
    assert blocking.run(daemon).verdict == "ok"
    assert blocking.processes() == before
    limits = dataclasses.replace(LIMITS, cpu_seconds=1)
    assert blocking.run(daemon + "while True: pass", limits=limits).verdict == "cpu limit"
    assert blocking.processes() == before


MEET = """
import fcntl, struct
shared = open(os.__file__)
mine, seen = sys.argv[1], []
def look(name, what):
    try: what()
    except (OSError, ValueError): return
    seen.append(name)
def read_lock():
    fcntl.lockf(shared, fcntl.LOCK_SH | fcntl.LOCK_NB)  # nobody can run into it
def others_lock():
    answer = fcntl.fcntl(shared, 5, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
    if struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK: seen.append("lock told")
read_lock()
before = os.stat(os.__file__), os.stat("/dev/null"), os.stat("/tmp/..")
until = time.monotonic() + 0.6
while time.monotonic() < until:
    open("/tmp/" + mine, "w").write(mine)
    if set(os.listdir("/tmp")) - {mine, "main.py"}: seen.append("file in /tmp")
    look("flock", lambda: fcntl.flock(shared, fcntl.LOCK_EX | fcntl.LOCK_NB))
    look("lock of others", others_lock)
    look("lease", lambda: fcntl.fcntl(shared, 1024, fcntl.F_RDLCK))
    look("notify", lambda: fcntl.fcntl(os.open("/python", os.O_RDONLY), 1026, 1))
    if call(253) >= 0 or call(294, 0) >= 0: seen.append("inotify")
    look("abstract", lambda: socket.socket(socket.AF_UNIX).bind("\\0meet"))
    if call(29, 7, 4096, 0o1666) >= 0: seen.append("shared memory")
    look("times", lambda: os.utime("/dev/null"))
    look("times", lambda: os.utime(os.__file__))
    if [n for n in os.listdir("/proc") if n.isdigit()] != ["1"]: seen.append("process")
    for pid in range(2, 20): look("signal", lambda: os.kill(pid, 0))
    time.sleep(0.01)
print("contained" if not seen else "ESCAPED " + str(sorted(set(seen))))
"""


def test_two_jobs_at_once_cannot_meet(fresh: Fresh) -> None:
    blocking = fresh(workers=2)
    jobs = [Job(TRY + MEET, arguments=(name,)) for name in ("left", "right")]
    results = blocking.wait(together(blocking.sandbox.run(job) for job in jobs))
    assert [r.stdout for r in results] == [b"contained\n"] * 2, results
    assert all(r.wall_seconds > 0.5 for r in results)


def census(blocking: Blocking) -> dict[str, int]:
    """What must not grow with the jobs that a worker has done."""
    worker = zygote(blocking.processes())
    with open(f"/proc/{worker}/status") as file:
        status = dict(line.split(":", 1) for line in file)
    with open(f"/proc/{worker}/mountinfo") as file:
        mounts = len(file.readlines())
    return {
        "host's files": len(os.listdir("/proc/self/fd")),
        "worker's files": len(os.listdir(f"/proc/{worker}/fd")),
        "mounts": mounts,
        "processes and zombies": len(blocking.processes()),
        "resident kB": int(status["VmRSS"].split()[0]),
        "virtual kB": int(status["VmSize"].split()[0]),
    }


@pytest.mark.parametrize("jobs", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_worker_does_not_grow(fresh: Fresh, jobs: int) -> None:
    blocking = fresh(recycle_jobs=jobs + 100)
    programs = ["print(1)", "1/0", "open('/tmp/x', 'w').write('x' * 99999)", "import os; os.fork()"]
    for number in range(40):
        blocking.run(programs[number % 4])
    before = census(blocking)
    for number in range(jobs):
        assert blocking.run(programs[number % 4]).verdict in ("ok", "error")
    after = census(blocking)
    assert after.pop("resident kB") <= before.pop("resident kB") + 256
    assert after == before
