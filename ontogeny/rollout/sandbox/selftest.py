"""Before any job: a program of ours tries the walls from inside, and the host reads what it found.

Knows no pool. A wall that a program of ours can pass is one that a model's can pass.
"""

from __future__ import annotations

import json
from typing import Any

from ontogeny.rollout.sandbox.jail import refusal
from ontogeny.rollout.sandbox.job import Job
from ontogeny.rollout.sandbox.limits import MEGABYTE, Limits
from ontogeny.rollout.sandbox.worker import Worker, WorkerLost

PROCESSES = 6
LIMITS = Limits(cpu_seconds=10, wall_seconds=20, memory_bytes=64 * MEGABYTE, processes=PROCESSES)
CANARY = """
import ctypes, errno, json, os, resource, socket, time

def fails(what):
    try:
        what()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))
    except MemoryError:
        return "ENOMEM"
    except ValueError:  # how the module resource says EPERM
        return "EPERM"
    return "it worked"

def status(name):
    for line in open("/proc/self/status"):
        if line.startswith(name + ":"):
            return line.split(":")[1].strip()

def forks():
    children = []
    try:
        while len(children) < 64:
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            children.append(pid)
    except OSError:
        pass
    for pid in children:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    return len(children) + 1

def raise_limit():
    resource.setrlimit(resource.RLIMIT_CPU, (1000, 1000))

libc = ctypes.CDLL(None, use_errno=True)
def shared_memory():
    if libc.shmget(0, 4096, 0o1600) < 0:
        raise OSError(ctypes.get_errno(), "")

found = {
    "sockets": [fails(lambda: socket.socket(family)) for family in (1, 2, 10, 16)],
    "memory files": fails(lambda: os.memfd_create("x")),
    "shared memory": fails(shared_memory),
    "writes outside /tmp": [fails(lambda: open(path + "/x", "w")) for path in
                            ("/", "/usr/lib", "/python/lib", "/dev", "/proc")],
    "the password file": fails(lambda: open("/etc/passwd")),
    "times of a device": fails(lambda: os.utime("/dev/null")),
    "/dev/null": fails(lambda: open("/dev/null", "r+").write("x")),
    "the harness": fails(lambda: open("/jail/inside/zygote.py")),
    "raising a limit": fails(raise_limit),
    "processes": forks(),
    "memory": fails(lambda: bytearray(256 << 20)),
    "files above 2": [int(n) for n in os.listdir("/proc/self/fd") if int(n) > 3],
    "pid": os.getpid(),
    "processes seen": len([n for n in os.listdir("/proc") if n.isdigit()]),
    "/tmp": os.listdir("/tmp"),
    **{name: status(name) for name in ("NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff",
                                       "CapBnd", "CapAmb")},
}
open("/tmp/run", "w").write("#!/python/bin/python3\\n")
os.chmod("/tmp/run", 0o700)
found["running a file in /tmp"] = fails(lambda: os.execv("/tmp/run", ["run"]))
print(json.dumps(found))
"""
NO_CAPABILITY = "0" * 16
EXPECTED: dict[str, Any] = {
    "sockets": ["EPERM"] * 4,
    "memory files": "EPERM",
    "shared memory": "EPERM",
    "the password file": "ENOENT",
    "times of a device": "EROFS",
    "/dev/null": "it worked",
    "the harness": "EACCES",
    "raising a limit": "EPERM",
    "processes": PROCESSES,
    "memory": "ENOMEM",
    "files above 2": [],
    "pid": 1,
    "processes seen": 1,
    "/tmp": ["main.py"],
    "running a file in /tmp": "EACCES",
    "NoNewPrivs": "1",
    "Seccomp": "2",
    **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), NO_CAPABILITY),
}


async def self_test(worker: Worker) -> None:
    """Raises SandboxRefused unless every wall of a fresh worker holds."""
    if worker.landlock < 1:
        raise refusal("this kernel has no Landlock; Linux 5.13 or later, with lsm=landlock,...")
    try:
        result = await worker.run(Job(CANARY), LIMITS)
    except WorkerLost as error:
        await worker.close()
        words = worker.last_words.decode(errors="replace").strip().splitlines() or ["no word"]
        raise refusal(f"a job cannot be sealed: {str(error) or words[-1]}") from None
    if result.verdict != "ok":
        lines = result.stderr.decode(errors="replace").strip().splitlines() or ["no word"]
        raise refusal(f"its self-test ended with {result.verdict!r}: {lines[-1]}")
    faults = open_walls(json.loads(result.stdout))
    if faults:
        raise refusal(f"its self-test failed: {faults[0]}")


def open_walls(found: dict[str, Any]) -> list[str]:
    """What the canary could do or see and should not."""
    faults = [
        f"{name}: {found.get(name)!r} instead of {expected!r}"
        for name, expected in EXPECTED.items()
        if found.get(name) != expected
    ]
    writes = found.get("writes outside /tmp", ["nothing told"])
    if not set(writes) <= {"EACCES", "EROFS", "ENOENT"}:
        faults.append(f"writes outside /tmp: {writes}")
    return faults
