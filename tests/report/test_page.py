"""One file, readable by anyone, harmless whatever a model wrote."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ontogeny.report import page
from ontogeny.report.contents import report_of
from ontogeny.report.drawing import tag
from ontogeny.report.figures import shown
from ontogeny.report.page import render

HERE = Path(page.__file__).parent
VOID = {"meta", "br"}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></style><script>",
    "{{ 7 * 7 }}{% raw %}",
    "\x1b[2J\x00\x07 \u202e gnirts \u200b \ud800 \ufeff",
    "&lt;b&gt;",
)


class Reader(HTMLParser):
    """Reads a page as a browser would: every element, attribute and word; ends must match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.ids: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        self.ids += [value for key, value in attributes if key == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def named(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of every element of this name."""
        return [attributes for tag, attributes in self.elements if tag == name]

    @property
    def text(self) -> str:
        """All that is written."""
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def html(lived: Any, claims: Any) -> str:
    return render(report_of(lived.store, lived.life(*claims)))


def test_the_page_needs_nothing_else(html: str) -> None:
    reader = Reader(html)
    assert reader.open == []
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & {
        name for name, _ in reader.elements
    }
    for _, attributes in reader.elements:
        assert not {"src", "srcset", "data", "action", "style"} & set(attributes)
        assert not [key for key in attributes if key.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(#" in html and not re.search(r"url\((?!#)|@import|https?://", html)
    policy = [a["content"] for a in reader.named("meta") if a.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_it_tells_every_effect_in_words(html: str) -> None:
    text = Reader(html).text
    for words in (
        "base.bpb bits against xz",
        "1.400 [1.390, 1.410] bits a byte ≤ 1.45 holds",
        "continue.gain code Control: arm/english.",
        "0.800 [0.790, 0.810]",
        "seed 1: 0.710 [0.700, 0.720]",
        "target 0.6 null 0.5 not measured share ≥ 0.6 untested",
        "Of 3 effects claimed, 2 hold and 1 was not tested.",
    ):
        assert words in text, words


def test_it_tells_stages_costs_prompts_and_sources(html: str) -> None:
    text = Reader(html).text
    for words in (
        "sft · 1 min 00 s ·",
        "base pretrain 1 min 00 s 1 M 6.0 × 10¹² 66.7 %",
        "evidence (3) 1 min 04 s",
        "The state base of base sft of sft grpo of grpo",
        "base loss, nats a token",
        "grpo reward, mean of the answers",
        "DeepSeek-V3 95.6 %",
        "arXiv:2203.02155",
        "Linux, 2 CPU cores",
        "2026-11-21",
    ):
        assert words in text, words


def test_who_cannot_see_it_is_told(html: str) -> None:
    reader = Reader(html)
    assert reader.named("html")[0]["lang"] == "en"
    assert reader.named("title") and len(reader.named("h1")) == 1
    for attributes in reader.named("svg"):
        assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
    drawn = [str(a["aria-label"]) for a in reader.named("svg") if a.get("aria-label")]
    assert "base.bpb: 1.400, 95 % interval from 1.390 to 1.410; target at most 1.45" in drawn[0]
    assert any("Lineage: tokens from corpus; base from tokens" in title for title in drawn)
    assert any(title.startswith("grpo: reward") for title in drawn)
    assert all(attributes["scope"] in ("col", "row") for attributes in reader.named("th"))
    links = {str(a["href"])[1:] for a in reader.named("a")}
    assert links <= set(reader.ids) and len(set(reader.ids)) == len(reader.ids)


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.1)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours (WCAG 2.1)."""
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_and_drawings_have_contrast_in_both_schemes() -> None:
    css = (HERE / "page.css").read_text()
    schemes = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", scheme))
        for ground in ("paper", "ground"):
            for ink in ("ink", "quiet", "accent"):
                assert contrast(colour[ink], colour[ground]) >= 4.5, (ink, ground)
        assert contrast(colour["on-accent"], colour["accent"]) >= 4.5
        assert contrast(colour["line"], colour["paper"]) >= 3
        assert contrast(colour["ink"], colour["goal"]) >= 4.5


def test_what_a_model_or_a_document_wrote_is_only_ever_text(grown: Any) -> None:
    text = " | ".join(HOSTILE)
    told = text.replace("\ud800", "")  # a record is UTF-8; samples may escape half a surrogate
    base = grown.make("base", "model", "pretrain", summary=[told])
    grown.samples("samples", base, {text: text, "short": text})
    grown.effect("x.y", 0.8, meaning=told, unit=told, control=told)
    grown.tell({"event": "began", "stage": "base", "id": base.id})
    numbers = {"loss": 1.0, text: 2.0}
    progress = {"event": "progress", "stage": "base", "done": 1, "total": 2, "unit": text}
    grown.tell(progress | numbers)
    report = report_of(grown.store, grown.life())
    html = render(report | {"recipe": text, "budget": text})
    reader = Reader(html)
    assert reader.open == []
    ours = re.findall(r"<([a-zA-Z]\w*)", (HERE / "page.html.jinja").read_text())
    drawn = {"svg", "title", "circle", "line", "path", "rect", "text", "defs", "marker"}
    assert {name for name, _ in reader.elements} <= set(ours) | drawn
    assert "<script" not in html
    assert not {key for _, attributes in reader.elements for key in attributes} & {"onerror", "src"}
    assert "{{ 7 * 7 }}{% raw %}" in reader.text and "&lt;b&gt;" in reader.text
    assert "\\x1b[2J\\x00\\x07 \\u202e gnirts \\u200b \\ud800 \\ufeff" in reader.text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u200b\u202e\ud800\ufeff]", html)


@settings(deadline=None)  # the machine may be busy
@given(st.text(st.characters(codec=None), max_size=60))
def test_shown_text_keeps_its_letters_and_no_control(text: str) -> None:
    harmless = shown(text)
    assert all(character == "\n" or character.isprintable() for character in harmless)
    if text.isprintable():
        assert harmless == text
    assert re.fullmatch(r'<p title="[^"<>]*">[^"<>]*</p>', tag("p", text, title=text))


def test_a_long_text_is_cut_and_says_so() -> None:
    assert shown("x" * 2_000, 10) == "xxxxxxxxxx … (1,990 more characters)"
    assert shown("x" * 10, 10) == "x" * 10


def test_a_run_with_nothing_to_tell_still_has_a_page(grown: Any) -> None:
    for number in range(2):
        reader = Reader(render(report_of(grown.store, grown.life())))
        assert reader.open == [] and "quickstart" in reader.text
        grown.make(f"corpus-{number}", "corpus", "prepare", execution={}, cost={})
