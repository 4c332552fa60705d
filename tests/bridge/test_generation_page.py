"""The page about generation quotes code that runs."""

import re
import subprocess
import sys
from pathlib import Path

from support.bench import Bench, sometimes_right

from ontogeny.bridge.models import save_model

PAGE = Path(__file__).parents[2] / "docs" / "generation.md"


def test_the_example_runs_as_it_stands(tmp_path):
    bench = Bench(tmp_path)
    save_model(bench.payload(), sometimes_right(160), bench.tokenizer, chats=True)
    bench.store.set_name("smollm2", bench.keep("sft", "model").id)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.stderr == ""
    assert re.match(r"(stop|length) '\{", done.stdout)
