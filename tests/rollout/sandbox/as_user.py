"""Run as root: `python as_user.py COMMAND...` becomes an ordinary user (65534) and runs a command.

`{python}`, `{repo}` in it name an interpreter and this checkout that the user can read: both are
shown to it in a mount namespace of our own, since they may lie below a home of mode 0700.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
sys.path.append(str(REPO / "ontogeny" / "rollout"))
STAGE = "/mnt"
NOBODY = 65534


def main() -> None:
    """Becomes the command."""
    from sandbox.inside import kernel  # by path: the package may be out of the user's reach

    kernel.unshare(kernel.NEW_MOUNTS)
    kernel.mount("none", "/", "", kernel.PRIVATE | kernel.RECURSIVE)
    shown = {"python": sys.base_prefix, "site": sysconfig.get_path("purelib"), "repo": str(REPO)}
    held = {name: os.open(path, os.O_PATH) for name, path in shown.items()}
    kernel.mount("tmpfs", STAGE, "tmpfs", 0, "mode=0755")
    for name, fd in held.items():
        os.mkdir(f"{STAGE}/{name}")
        kernel.mount(f"/proc/self/fd/{fd}", f"{STAGE}/{name}", "", kernel.BIND | kernel.RECURSIVE)
        os.close(fd)
    os.mkdir(f"{STAGE}/tmp")
    os.chmod(f"{STAGE}/tmp", 0o1777)
    os.chdir(f"{STAGE}/repo")
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    python = f"{STAGE}/python/bin/python3.{sys.version_info.minor}"
    command = [word.format(python=python, repo=f"{STAGE}/repo") for word in sys.argv[1:]]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{STAGE}/repo:{STAGE}/site",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": f"{STAGE}/tmp",
        "HOME": f"{STAGE}/tmp",
        "LANG": "C.UTF-8",
        "CI_SANDBOX": os.environ.get("CI_SANDBOX", ""),
    }
    os.execvpe(command[0], command, environment)


if __name__ == "__main__":
    main()
