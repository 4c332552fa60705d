"""The example in docs/remote.md runs, asks each question once, and makes rows that load."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from support.openai_server import chat, says, serving

from ontogeny.text.message import conversation_from_row

DOCS = Path(__file__).resolve().parents[2] / "docs" / "remote.md"


def test_the_example_of_the_documentation_runs_and_asks_once(tmp_path: Path):
    (block,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "teach.py").write_text(block, encoding="utf-8")

    def teacher(heard):
        said = [message["content"] for message in heard.body["messages"]]
        return says(chat(f"On '{said[0]}': {len(said)}."))

    def taught(url):
        subprocess.run(
            [sys.executable, "teach.py"],
            cwd=tmp_path,
            env={**os.environ, "TEACHER_URL": url},
            check=True,
            timeout=60,
        )
        return (tmp_path / "taught.jsonl").read_text(encoding="utf-8")

    with serving(teacher) as server:
        first = taught(server.url)
        assert len(server.posts) == 6
        assert taught(server.url) == first
        assert len(server.posts) == 6
    rows = [json.loads(line) for line in first.splitlines()]
    found = [conversation_from_row(row).messages for row in rows]
    assert [each[1].content for each in found] == [f"On '{each[0].content}': 3." for each in found]
