"""llama.cpp's own HTTP server on loopback, in a process of its own, with a small model of ours.

A process because the library's server cannot be stopped inside ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_PROGRAM = """
import sys
import xllamacpp as library
options = library.CommonParams()
options.model.path = sys.argv[1]
options.n_ctx, options.n_parallel, options.kv_unified = int(sys.argv[2]) * 2, 2, False
options.warmup, options.verbosity, options.port = False, -1, 0
options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
options.cache_type_k = options.cache_type_v = library.ggml_type.GGML_TYPE_F32
options.flash_attn_type = library.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
server = library.Server(options)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def llama_cpp_server(model: Path, context: int) -> Iterator[str]:
    """The URL of a server with two slots of `context` tokens each."""
    pytest.importorskip("xllamacpp")
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(model), str(context)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            yield f"{process.stdout.readline().strip()}/v1"
        finally:
            process.kill()


def slots(url: str) -> list[dict[str, Any]]:
    """What each slot is doing, as the server says."""
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/slots") as reply:
        found: list[dict[str, Any]] = json.load(reply)
    return found
