"""Put on PYTHONPATH: writes each use of a network by this process and its children to a file.

Python's audit events (PEP 578) come before the act, from the C code of its library too; a hook
cannot be taken away again. What a package's own C code does with sockets it does not hear.
"""

import os
import sys

EVENTS = ("connect", "bind", "sendto", "sendmsg", "getaddrinfo", "gethostbyname")
WATCHED = {f"socket.{name}" for name in EVENTS} | {"urllib.Request", "http.client.connect"}
TOLD = (str, bytes, int, tuple)
FILE = os.environ.get("WATCHED_SOCKETS", "")


def _write(event: str, arguments: tuple[object, ...]) -> None:
    if event in WATCHED:
        _tell(f"{event} {[each for each in arguments if isinstance(each, TOLD)]!r}")


def _tell(line: str) -> None:
    descriptor = os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


if FILE:
    sys.addaudithook(_write)
    _tell("watched")
