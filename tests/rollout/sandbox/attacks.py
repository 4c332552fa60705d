"""The attack battery: programs that try to get out, to stay, to starve the host or to forge.

Each prints "ESCAPED" and what worked, should something work; most end with "contained".
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

TRY = """
import ctypes, os, sys, time, signal, socket, resource, errno
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    words = [a if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]
    return libc.syscall(ctypes.c_long(number), *words)
def no(name, what):
    try:
        got = what()
    except (OSError, ValueError, MemoryError, OverflowError, RuntimeError):
        return
    print("ESCAPED", name, repr(got)[:200])
def no_call(name, number, *arguments):
    if call(number, *arguments) >= 0:
        print("ESCAPED", name)
"""
END = '\nprint("contained")\n'


@dataclass(frozen=True)
class Attack:
    """A program and the verdicts it may get.

    Attributes:
        row: of the list of cases, a stable number.
        limits: instead of the fixture's.
        contained: it must have run to its end and said so.
    """

    row: int
    name: str
    program: str | bytes
    verdicts: tuple[str, ...] = ("ok",)
    limits: dict[str, Any] = dataclasses.field(default_factory=dict)
    stdin: bytes = b""
    contained: bool = True

    def __str__(self) -> str:
        return f"{self.row} {self.name}"


def tried(row: int, name: str, body: str, **others: Any) -> Attack:
    """An attack that tries, fails and goes on."""
    return Attack(row, name, TRY + body + END, **others)


def ended(row: int, name: str, program: str | bytes, *verdicts: str, **others: Any) -> Attack:
    """An attack that the sandbox ends, or that does not come to its own end."""
    source = TRY + program if isinstance(program, str) else program
    return Attack(row, name, source, verdicts, contained=False, **others)


FAST = {"cpu_seconds": 1, "wall_seconds": 40.0}
SHORT = {"wall_seconds": 1.0}

NETWORK = [
    tried(60, name, f"no('socket', lambda: socket.socket({family}, {kind}, {protocol}))")
    for name, family, kind, protocol in [
        ("TCP", 2, 1, 0),
        ("TCP over IPv6", 10, 1, 0),
        ("UDP", 2, 2, 0),
        ("Unix", 1, 1, 0),
        ("netlink", 16, 3, 0),
        ("raw", 2, 3, 1),
        ("packet", 17, 3, 3),
        ("virtual machine's", 40, 1, 0),
        ("kernel crypto", 38, 5, 0),
    ]
]
NETWORK += [
    tried(60, "datagrams from a pair", "no('pair', lambda: socket.socketpair(1, 2))"),
    tried(
        60,
        "abstract socket from a pair",
        """
a, b = socket.socketpair()
no("bind", lambda: a.bind("\\0meet"))
no("connect", lambda: a.connect("\\0meet"))
no("listen", lambda: a.listen())
no("sendto", lambda: a.sendto(b"x", "\\0meet"))
a.send(b"x")
assert b.recv(1) == b"x"
""",
    ),
]
FILES = [
    tried(
        61,
        "secrets of the machine",
        """
for path in ("/etc/passwd", "/etc/shadow", "/etc/hostname", "/root", "/home", "/sys", "/var",
             "/proc/kcore", "/proc/cpuinfo", "/proc/sys/kernel/hostname", "/proc/cmdline",
             "/proc/sysrq-trigger", "/usr/bin", "/bin/sh", "/run", "/opt", "/mnt", "/boot",
             "/episode"):
    no(path, lambda: os.listdir(path) if os.path.isdir(path) else open(path).read())
for number in range(2, 3000):
    for file in ("environ", "mem", "maps", "cmdline", "cwd", "root"):
        no(number, lambda: open(f"/proc/{number}/{file}").read())
assert [n for n in os.listdir("/proc") if n.isdigit()] == ["1"], os.listdir("/proc")
""",
    ),
    tried(
        61,
        "the harness and the project",
        """
no("harness", lambda: open("/jail/inside/zygote.py").read())
for folder, _, files in os.walk("/"):
    if folder.startswith("/proc"):
        continue
    for file in files:
        if "ontogeny" in file or file in ("passwd", "shadow", ".bash_history", "id_rsa"):
            print("ESCAPED", folder, file)
assert not os.listdir("/python/lib/python3.%d/site-packages" % sys.version_info.minor)
""",
    ),
    tried(
        62,
        "writing outside /tmp",
        """
for path in ("/", "/usr/lib", "/python/bin", "/python/lib", "/dev", "/proc", "/proc/self",
             "/jail", "/lib64", "/dev/shm", os.path.dirname(os.__file__)):
    no(path, lambda: open(path + "/x", "w"))
    no(path, lambda: os.mkdir(path + "/d"))
    no(path, lambda: os.mkfifo(path + "/f"))
    no(path, lambda: os.symlink("/tmp", path + "/l"))
for path in (sys.executable, os.__file__, "/proc/self/oom_score_adj", "/proc/self/mem",
             "/proc/self/uid_map", "/proc/self/comm", "/dev/zero"):
    no(path, lambda: open(path, "r+b"))
    no(path, lambda: os.chmod(path, 0o777))
    no(path, lambda: os.utime(path))
    no(path, lambda: os.unlink(path))
    no(path, lambda: os.rename(path, "/tmp/x"))
    no(path, lambda: os.link(path, "/tmp/x"))
no("device", lambda: os.mknod("/tmp/device", 0o60666, os.makedev(254, 0)))
""",
    ),
    tried(
        63,
        "filling /tmp",
        """
written = 0
try:
    for number in range(100):
        with open(f"/tmp/{number}", "wb") as file:
            written += file.write(bytes(1 << 20))
except OSError as error:
    assert error.errno == errno.ENOSPC, error
assert written <= 8 << 20, written
""",
    ),
    tried(
        63,
        "one huge file",
        """
file = open("/tmp/huge", "wb", buffering=0)
file.truncate(4 << 20)
file.seek(4 << 20)
no("more", lambda: file.write(b"x"))
no("hole", lambda: file.truncate(1 << 40))
no("falloc", lambda: os.posix_fallocate(file.fileno(), 0, 1 << 40))
""",
    ),
    tried(
        63,
        "inodes",
        """
made = 0
try:
    for made in range(100000):
        os.mkdir(f"/tmp/{made}")
except OSError as error:
    assert error.errno == errno.ENOSPC, error
assert made < 600, made
""",
    ),
]
MEMORY = [
    ended(64, "memory of one process", "x = []\nwhile True: x.append(bytearray(1 << 20))",
          "memory limit"),
    ended(64, "memory asked for at once", "bytearray(1 << 40)", "memory limit"),
    ended(64, "memory that hides its error",
          "x = []\nwhile True:\n try: x.append(bytearray(1 << 16))\n except MemoryError: pass",
          "cpu limit", "memory limit", limits={"cpu_seconds": 1}),
    tried(
        65,
        "memory beside RLIMIT_AS",
        """
no("memfd", lambda: os.memfd_create("x"))
no_call("memfd_secret", 447, 0)
no_call("shmget", 29, 0, 1 << 20, 0o1600)
no_call("mq_open", 240, b"/x", 0o102, 0o600, 0)
no_call("msgget", 68, 0, 0o1600)
no_call("semget", 64, 0, 1, 0o1600)
no("/dev/shm", lambda: open("/dev/shm/x", "w"))
""",
    ),
    tried(
        65,
        "memory in pipes and socket pairs",
        """
import fcntl
held = []
try:
    while True:
        held.append(os.pipe())
        fcntl.fcntl(held[-1][1], 1031, 1 << 20)
except OSError:
    pass
assert len(held) < 128
""",
    ),
]  # fmt: skip
PROCESSES = [
    tried(
        66,
        "fork bomb",
        """
children = 0
while True:
    try:
        if os.fork() == 0:
            while True: signal.pause()
    except OSError as error:
        assert error.errno == errno.EAGAIN
        break
    children += 1
    if children > 20: print("ESCAPED"); break
assert children == 11, children
""",
    ),
    ended(66, "fork bomb that multiplies", "while True:\n try: os.fork()\n except OSError: pass",
          "cpu limit", "timeout", "error", limits=SHORT),
    tried(
        66,
        "thread bomb",
        """
import threading
started = 0
try:
    for started in range(200):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
except RuntimeError:
    pass
assert started < 13, started
""",
    ),
    ended(
        67,
        "endless loop, all signals ignored",
        """
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: pass
""",
        "cpu limit",
        limits=FAST,
    ),
    ended(67, "endless loops in children",
          "for _ in range(3):\n if os.fork() == 0: break\nwhile True: pass",
          "timeout", "cpu limit", limits={"cpu_seconds": 2, "wall_seconds": 1.0}),
    ended(68, "sleep", "time.sleep(600)", "timeout", limits=SHORT),
    ended(68, "closes its files, then spins",
          "for n in range(3): os.close(n)\nwhile True: pass", "cpu limit", limits=FAST),
    ended(68, "closes its files, then sleeps",
          "os.closerange(0, 100)\ntime.sleep(600)", "timeout", limits=SHORT),
    tried(68, "never reads", "", stdin=bytes(3 << 20)),
    tried(68, "reads it all", "assert len(sys.stdin.buffer.read()) == 3 << 20",
          stdin=bytes(3 << 20)),
    ended(69, "flood", "while True: print('x' * 1000)", "output limit"),
    ended(69, "flood of errors", "while True: os.write(2, b'x' * 100000)", "output limit"),
    ended(69, "flood by a child that stays",
          "if os.fork() == 0:\n while True: os.write(1, b'x' * 65536)\ntime.sleep(60)",
          "output limit"),
    tried(
        70,
        "daemon",
        """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 100)
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        time.sleep(3600)
    os._exit(0)
time.sleep(0.05)
""",
    ),
]  # fmt: skip
NATIVE = """
import mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(bytes.fromhex("{}"))
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
print("ESCAPED")
"""
FATAL = {
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "setns": 308, "ptrace": 101,
    "process_vm_readv": 310, "process_vm_writev": 311, "bpf": 321, "io_uring_setup": 425,
    "userfaultfd": 323, "keyctl": 250, "add_key": 248, "request_key": 249,
    "open_by_handle_at": 304, "name_to_handle_at": 303, "perf_event_open": 298,
    "kexec_load": 246, "init_module": 175, "finit_module": 313, "swapon": 167, "reboot": 169,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsmount": 432, "mount_setattr": 442,
    "pidfd_getfd": 438, "kcmp": 312, "sethostname": 170, "iopl": 172, "ioperm": 173,
    "modify_ldt": 154, "acct": 163, "quotactl": 179, "fanotify_init": 300, "uselib": 134,
    "settimeofday": 164, "clock_settime": 227, "process_madvise": 440, "vmsplice": 278,
}  # fmt: skip
FORBIDDEN = [
    tried(
        71,
        "signals to all and to parents",
        """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for target in (-1, 0, os.getppid() or -1, -os.getpid()):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try: os.kill(target, number)
        except OSError: pass
for number in range(2, 200):
    no(number, lambda: os.kill(number, 9))
    no(number, lambda: os.pidfd_open(number))
    no(number, lambda: os.getpgid(number))
""",
    ),
    tried(
        72,
        "calls that only an escape needs",
        f"""
for name, number in {FATAL!r}.items():
    child = os.fork()
    if child == 0:
        call(number, 0, 0, 0, 0, 0, 0)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGSYS:
        print("ESCAPED", name, status)
""",
    ),
    *(
        ended(72, f"{name} by itself", f"call({number}, 0, 0, 0)\nprint('ESCAPED')", "forbidden")
        for name, number in (("mount", 165), ("ptrace", 101), ("io_uring", 425))
    ),
    *(
        ended(72, f"clone into a new namespace {flag:#x}",
              f"call(56, {flag | 17}, 0, 0, 0, 0)\nprint('ESCAPED')", "forbidden")
        for flag in (0x10000000, 0x00020000, 0x20000000, 0x40000000)
    ),
    ended(72, "unshare", "call(272, 0x10000000)\nprint('ESCAPED')", "forbidden"),
    tried(
        72,
        "calls with other arguments",
        """
no_call("clone3", 435, bytes(88), 88)
no_call("seccomp", 317, 1, 0, b"")
no_call("prctl seccomp", 157, 22, 2, 0)
no_call("prctl mm", 157, 35, 1, 0)
no_call("personality", 135, 0x0040000)
no_call("landlock", 444, bytes(8), 8, 0)
no_call("setuid", 105, 0)
no_call("capset", 126, bytes(8), bytes(24))
no_call("terminal input", 16, 0, 0x5412, b"x")
""",
    ),
    ended(73, "a 32-bit call", NATIVE.format("6a1458cd80c3"), "forbidden", "error"),
    ended(73, "an x32 call", "call(0x40000000 | 39)\nprint('ESCAPED')", "forbidden"),
    tried(
        74,
        "running what it wrote, and setuid programs",
        """
import stat, subprocess
for folder, _, files in os.walk("/"):
    if not folder.startswith("/proc"):
        for file in files:
            mode = os.lstat(os.path.join(folder, file)).st_mode
            if mode & (stat.S_ISUID | stat.S_ISGID): print("ESCAPED", folder, file)
open("/tmp/script", "w").write("#!/python/bin/python3\\nprint('ESCAPED script')")
open("/tmp/native", "wb").write(open(os.path.realpath(sys.executable), "rb").read(1 << 20))
for name in ("script", "native"):
    os.chmod("/tmp/" + name, 0o6755)
    no(name, lambda: subprocess.run(["/tmp/" + name]))
loaded = subprocess.run(["/lib64/ld-linux-x86-64.so.2", "/tmp/native"], capture_output=True)
assert loaded.returncode != 0
no_call("execveat", 322, -100, b"/tmp/native", 0, 0, 0)
program = subprocess.run([sys.executable, "-c", "print(2 + 2)"], capture_output=True)
assert program.stdout == b"4\\n", program
""",
        limits={"file_bytes": 8 << 20, "tmp_bytes": 16 << 20},
    ),
    tried(
        75,
        "raising its own limits",
        """
for name in ("CPU", "AS", "NPROC", "FSIZE", "NOFILE", "CORE", "MEMLOCK"):
    which = getattr(resource, "RLIMIT_" + name)
    soft, hard = resource.getrlimit(which)
    assert hard >= 0
    no(name, lambda: resource.setrlimit(which, (hard + 1, hard + 1)))
# 0 would hand its crash to a program of the host's, which runs as root
assert resource.getrlimit(resource.RLIMIT_CORE) == (1, 1)
no("core", lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
no("nice", lambda: os.nice(-5))
no("affinity", lambda: os.sched_setaffinity(0, range(64)))
no("priority", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
""",
    ),
    tried(
        76,
        "open files",
        """
for fd in range(3, 4096):
    no(fd, lambda: os.write(fd, b"K"))
    no(fd, lambda: os.read(fd, 1))
    no(fd, lambda: os.fstat(fd))
""",
    ),
]  # fmt: skip
BROKEN = [
    ended(82, "endless recursion", "def f(): f()\nf()", "error"),
    ended(82, "recursion past the stack",
          "sys.setrecursionlimit(10**9)\nclass A:\n  def __repr__(self): return repr(self)\n"
          "repr(A())", "error", "memory limit"),
    ended(82, "abort", "os.abort()", "error"),
    ended(82, "segmentation fault", "ctypes.string_at(1)", "error"),
    ended(82, "kills itself", "os.kill(os.getpid(), 9)\nos.kill(os.getpid(), 15)", "ok", "error"),
    ended(82, "deeply nested source", b"(" * 100_000, "error", "memory limit"),
    ended(82, "compile bomb", b"x = (1,) * 1000\n" + b"x = " + b"-" * 90_000 + b"1\n",
          "error", "memory limit"),
    ended(82, "constant that folds into much", "x = ((1 << 9999999) ** 9999999)",
          "cpu limit", "memory limit", limits=FAST),
    ended(82, "deep chain in one statement", b"x = 0" + b"+1" * 60_000,
          "ok", "error", "memory limit"),
    ended(83, "NUL in the source", b"print(1)\0", "error"),
    ended(83, "a surrogate in the source", "print('\ud800')", "error"),
    ended(83, "source in no UTF-8", b"print('\xff')", "error"),
    ended(83, "1 MB of source", b"x = 1\n" * 170_000, "ok",
          limits={"memory_bytes": 512 << 20}),
    ended(83, "1 MB without a line's end", "sys.stdout.write('x' * (1 << 20))", "ok"),
    ended(83, "output in no UTF-8", "os.write(1, bytes(range(256)))", "ok"),
    ended(83, "an error that cannot be told",
          "class E(Exception):\n  def __str__(self): raise E\nraise E", "error"),
    ended(83, "a surrogate in the output", "print('\\udc80')", "ok"),
]  # fmt: skip
FORGED = [
    ended(79, name, program, *verdicts)
    for name, program, verdicts in [
        ("exits at once", "os._exit(0)", ("ok",)),
        ("exits while it is imported", "sys.exit(0)", ("ok",)),
        ("exits from atexit", "import atexit\natexit.register(os._exit, 0)\n1/0", ("ok",)),
        ("speaks as the harness", "print('PASS')\nos.write(2, b'setup failed\\nK')", ("ok",)),
        (
            "writes the harness's words everywhere",
            "for fd in range(64):\n for word in (b'K', b'E', b'U', b'{\"job\": 1, \"exit\": 0}'):\n"
            "  try: os.write(fd, word)\n  except OSError: pass\nsys.exit(3)",
            ("error",),
        ),
        (
            "replaces what ends it",
            "import builtins, gc\nos._exit = sys.exit = lambda *a: None\nsys.stdout.flush = 1\n1/0",
            ("error",),
        ),
    ]
]
ATTACKS = [*NETWORK, *FILES, *MEMORY, *PROCESSES, *FORBIDDEN, *BROKEN, *FORGED]
