"""A program of its own: compiles the grammar on standard input and follows it for a while.

Knows nothing of the package and imports nothing of it, so it runs as a file from any folder. A few
lines of a grammar can ask llguidance for hours (`allOf` of twenty patterns), gigabytes or a stack
of any depth (a chain of `$ref`) in spite of its limits; hence a process that may use little of all
three and whose crash costs one request. `text/constraint.py` starts it and reads its verdict, which
is why the grammar is refused, as JSON, or null.

    python -P grammar_trial.py MEMORY_BYTES CPU_SECONDS STACK_BYTES LIMITS < GRAMMAR
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import sys
import threading
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

STEPS = 64


def main() -> None:
    """Tries the grammar in a thread whose stack is smaller than any that will meet it later."""
    memory, seconds, stack, limits = (json.loads(word) for word in sys.argv[1:5])
    grammar = sys.stdin.buffer.read().decode()
    verdict: list[str | None] = []
    threading.stack_size(stack)
    tried = threading.Thread(target=lambda: verdict.append(fault(grammar, limits)))
    limit(memory, seconds)
    tried.start()
    tried.join()
    print(json.dumps(verdict[0]))


def limit(memory: int, seconds: int) -> None:
    """`memory` bytes on top of what is in use, so much processor time, no core dump."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    # Where a system does not tell (macOS), it does not hold to this limit either.
    with contextlib.suppress(OSError):
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[0])
        most = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def fault(grammar: str, limits: dict[str, Any]) -> str | None:
    """Why the grammar cannot even begin; then a walk of `STEPS` random bytes tries its steps."""
    matcher = LLMatcher(LLTokenizer("byte"), grammar, log_level=0, limits=LLParserLimits(**limits))
    mask = matcher.compute_bitmask()
    if matcher.is_error():
        return str(matcher.get_error())
    draw = random.Random(0)
    for _ in range(STEPS):
        bits = int.from_bytes(mask, "little")
        ids = [id_ for id_ in range(256) if bits >> id_ & 1]
        if not ids or not matcher.consume_token(draw.choice(ids)) or matcher.is_stopped():
            break
        mask = matcher.compute_bitmask()
    return None


if __name__ == "__main__":
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what a crash prints is nobody's concern
    main()
