"""Requests made from the OpenAPI document, sound ones and broken ones, find no mistake of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from serve.running import live

REQUESTS = 2000
PLACES = 320  # of one route: those without a body need a few only


def test_two_thousand_requests_made_from_the_document_hear_no_5xx(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run"),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", str(PLACES), "--seed", "1"),
        *("--checks", "not_a_server_error,content_type_conformance", "--no-shrink"),
        *("--continue-on-failure", "--suppress-health-check", "all", "--request-timeout", "120"),
        *("--report", "json", "--report-json-path", str(told)),
    ]
    with live() as server:
        url = f"http://127.0.0.1:{server.port}/openapi.json"
        done = subprocess.run([*command, url], cwd=tmp_path, capture_output=True, text=True)
        assert server.ask("/health").status == 200
    found = json.loads(told.read_text())
    assert found["failures"] == found["errors"] == [], done.stdout
    assert found["operations"]["tested"] == found["operations"]["total"] > 0
    assert found["test_cases"]["generated"] >= REQUESTS
    assert done.returncode == 0, done.stdout
