"""What the jail shows of this machine, and the bubblewrap command that builds it.

Knows no job. The interpreter (never a virtual environment), its standard library and the system's
shared libraries are shown, read-only; no /etc, no /home, no /sys, no other program.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ontogeny.base.errors import SandboxRefused
from ontogeny.rollout.sandbox.job import TMP, WORK, Tree

INSIDE_ID = "1000"
SLOT_UIDS = range(64_200, 64_900)
"""Users of no machine that we know: above people's, below `nobody`, inside a container's range."""
SYSTEM = ("/lib64", "/usr/lib64")
LOADED = "python3* ssl* crypto* ffi* z bz2* lzma* sqlite3* expat* ncursesw* tinfo* readline*"
LOADED += " uuid* stdc++* gcc_s*"
"""Libraries that an interpreter brings along beside its standard library (conda, pyenv)."""
START = (
    "import sys; sys.path.insert(0, '/jail'); from inside.zygote import main; "
    "sys.path.pop(0); main(int(sys.argv[1]))"
)


@dataclass(frozen=True)
class Jail:
    """The common walls of a worker's jobs.

    Attributes:
        bwrap: the program.
        trees: what is shown below /trees.
        work: options of the tmpfs at /episode that outlives jobs ("" for none).
        uid: the user to become first, if root starts it.
        groups: files to write a process id into, to join control groups.
    """

    bwrap: str
    trees: tuple[Tree, ...] = ()
    work: str = ""
    uid: int | None = None
    groups: tuple[str, ...] = ()

    def order(self, control: int, info: int) -> dict[str, object]:
        """For the launcher: what to bind and what to become."""
        binds = [
            *interpreter(),
            *libraries(),
            (str(Path(__file__).parent / "inside"), "/jail/inside"),
        ]
        binds += [(str(tree.path.resolve()), tree.place) for tree in self.trees]
        return {
            "groups": self.groups,
            "uid": self.uid,
            "binds": binds,
            "arguments": self._command(control, info),
        }

    def _command(self, control: int, info: int) -> list[str]:
        python = f"python3.{sys.version_info.minor}"
        library = f"/python/{sys.platlibdir}/{python}"
        command = [self.bwrap, "--unshare-all", "--unshare-user"]
        command += ["--die-with-parent", "--new-session", "--info-fd", str(info)]
        command += ["--uid", INSIDE_ID, "--gid", INSIDE_ID, "--hostname", "sandbox"]
        # all only over the jail's own user namespace, and no job keeps them
        command += ["--cap-drop", "ALL"]
        for name in ("CAP_SYS_ADMIN", "CAP_SETPCAP", "CAP_SYS_RESOURCE"):
            command += ["--cap-add", name]
        command += ["--clearenv", *self._environment(), ""]
        for name in ("site-packages", "dist-packages"):  # what is installed is shown by trees alone
            if (Path(os.__file__).parent / name).is_dir():
                command += ["--tmpfs", f"{library}/{name}", "--remount-ro", f"{library}/{name}"]
        for name in ("python3", "python"):
            command += ["--symlink", python, f"/python/bin/{name}"]
        for place in ("/lib", "/lib64"):
            if os.path.islink(place):
                command += ["--symlink", os.readlink(place), place]
        command += ["--proc", "/proc", "--dir", TMP]
        for device in ("null", "zero", "random", "urandom"):
            command += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
        if self.work:
            command += ["--dir", WORK]
        command += ["--remount-ro", "/", "--chdir", "/", "--"]
        return [
            *command,
            f"/python/bin/{python}",
            "-s",
            "-S",
            "-P",
            "-B",
            "-c",
            START,
            str(control),
        ]

    def _environment(self) -> list[str]:
        variables = {
            "PATH": "/python/bin",
            "HOME": TMP,
            "TMPDIR": TMP,
            "LANG": "C.UTF-8",
            "PYTHONHASHSEED": "0",  # equal programs print equal things
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if Path(sys.base_prefix) != Path("/usr"):
            variables["LD_LIBRARY_PATH"] = "/python/lib"
        if self.work:
            variables["WORK"] = self.work
        return [word for pair in variables.items() for word in ("--setenv", *pair)]


def interpreter() -> Iterator[tuple[str, str]]:
    """(here, inside) of the interpreter below this environment, its library, its shared ones."""
    name = f"python3.{sys.version_info.minor}"
    base = Path(sys.base_prefix)
    program = base / "bin" / name
    yield (
        str(program.resolve() if program.exists() else Path(sys.executable).resolve()),
        (f"/python/bin/{name}"),
    )
    yield str(Path(os.__file__).parent), f"/python/{sys.platlibdir}/{name}"
    if base != Path("/usr"):  # there the system's libraries, shown anyway, are its own
        found = {path for stem in LOADED.split() for path in base.glob(f"lib/lib{stem}.so*")}
        for path in sorted(found):
            yield str(path.resolve()), f"/python/lib/{path.name}"


def libraries() -> Iterator[tuple[str, str]]:
    """(here, inside) of the directories in which the dynamic loader looks."""
    machine = platform.machine()
    places = [*SYSTEM, f"/lib/{machine}-linux-gnu", f"/usr/lib/{machine}-linux-gnu"]
    for place in (*places, "/usr/share/zoneinfo"):
        parents = Path(place).parents
        linked = os.path.islink(place) or any(parent.is_symlink() for parent in parents)
        if os.path.isdir(place) and not linked:
            yield place, place


def find_bwrap() -> str:
    """The bubblewrap program, or a refusal that says how to get it."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        here = f"{platform.system()} on {platform.machine()}"
        raise refusal(f"it needs Linux on x86-64, and this is {here}")
    found = shutil.which("bwrap")
    if found is None:
        raise refusal("bubblewrap (bwrap) is not installed; `apt-get install bubblewrap`")
    return found


def refusal(reason: str) -> SandboxRefused:
    """Why model-written code does not run here, in one line."""
    return SandboxRefused(f"the sandbox is refused: {reason}", file="sandbox")


@contextlib.contextmanager
def slot_user() -> Iterator[int | None]:
    """A user that no other worker of this machine has, while root holds it; None for others.

    Two workers of one user could not reach each other either: this is one more wall.
    """
    if os.geteuid() != 0:
        yield None
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
        yield _claim(claim, SLOT_UIDS)


def _claim(claim: socket.socket, uids: Sequence[int]) -> int:
    for uid in uids:
        with contextlib.suppress(OSError):
            claim.bind(f"\0ontogeny-sandbox-{uid}")  # the kernel gives it back when we die
            return uid
    raise refusal("all of its users are taken; other sandboxes run here: wait for them")
