"""The model card: rendered from records, nothing in it typed by hand but the user's own words.

Knows no store. What the records do not hold is not on the card.
"""

from __future__ import annotations

from collections.abc import Iterator

from ontogeny.release.evidence import CONFIG, FOLDER, WEIGHTS, Evidence, pointer
from ontogeny.release.files import LICENCES, SUMS
from ontogeny.release.front import front_of
from ontogeny.release.tables import data_lines, result_lines
from ontogeny.release.words import Words

CHAT = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

bundle = "."  # where this card lies
tokenizer = AutoTokenizer.from_pretrained(bundle)
model = AutoModelForCausalLM.from_pretrained(bundle)
messages = [{"role": "user", "content": "What is your name?"}]
ids = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
)["input_ids"]
answer = model.generate(ids, max_new_tokens=32)[0, ids.shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True))
```

It answers in turns. Text from strangers can spell the tokens that end a turn; encode it by
`tokenizer(text, split_special_tokens=True)` and it stays text."""
CONTINUE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

bundle = "."  # where this card lies
tokenizer = AutoTokenizer.from_pretrained(bundle)
model = AutoModelForCausalLM.from_pretrained(bundle)
text = tokenizer.eos_token + "The state of the"  # a document begins where another ended
ids = tokenizer(text, return_tensors="pt")["input_ids"]
print(tokenizer.decode(model.generate(ids, max_new_tokens=32)[0], skip_special_tokens=True))
```

It continues text. It has not learnt to answer, and its chat template is only the form in which
later stages would teach it to."""

CONTINUE_IMPORTED = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

bundle = "."  # where this card lies
tokenizer = AutoTokenizer.from_pretrained(bundle)
model = AutoModelForCausalLM.from_pretrained(bundle)
ids = tokenizer("The state of the", return_tensors="pt")["input_ids"]
print(tokenizer.decode(model.generate(ids, max_new_tokens=32)[0], skip_special_tokens=True))
```

It continues text; nothing in its files says that it learnt to answer."""


def card(evidence: Evidence, words: Words) -> str:
    """The text of README.md.

    Raises:
        InputError: what the user wrote cites nothing that is there, or a record is not of the form
            that its kind has.
    """
    chats = isinstance(evidence.config.get("eos_token_id"), list)
    use = CHAT if chats else CONTINUE_IMPORTED if evidence.imported else CONTINUE
    about = words.filled(evidence)
    sections = (
        (f"# {words.title}", *_opening(evidence, chats)),
        ("## How to use it", "", use),
        ("## In its makers' words", "", about) if about else (),
        ("## How it was made", "", *_making(evidence)),
        ("## Data", "", *data_lines(evidence)),
        ("## Results", "", *result_lines(evidence, words.claims)),
        ("## Limits", "", *_limits(evidence)),
        ("## Licence", "", *_licence(words)),
        ("## How to check this card", "", *_checking()),
    )
    body = "\n\n".join("\n".join(section) for section in sections if section)
    return f"---\n{front_of(evidence, words, chats=chats)}\n---\n\n{body}\n"


def _opening(evidence: Evidence, chats: bool) -> Iterator[str]:
    does = "answers in turns" if chats else "continues text"
    cite = evidence.cite
    yield ""
    yield (
        f"A language model of {cite(WEIGHTS, 'parameters', '.2f M')} parameters that {does}; "
        f"architecture {cite(CONFIG, 'architectures/0', 's')}, "
        f"{cite(CONFIG, 'num_hidden_layers', ',.0f')} layers, a vocabulary of "
        f"{cite(CONFIG, 'vocab_size', ',.0f')} tokens, a context of "
        f"{cite(CONFIG, 'max_position_embeddings', ',.0f')} tokens."
    )
    yield ""
    yield (
        "Every number on this card is a link: to the sealed record that holds it, and in its "
        "title the field of that record. No number stands here without one."
    )


def _making(evidence: Evidence) -> Iterator[str]:
    cite = evidence.cite
    yield "All that went into it, first to last; shares are of the FLOPs."
    yield ""
    yield "| made | by the stage | tokens | FLOPs | share | seed |"
    yield "|---|---|--:|--:|--:|--:|"
    for each in evidence.lineage:
        cells = [str(cite(each, "name", "s")), str(cite(each, "stage", "s"))]
        if evidence.records[each].cost.get("flops"):
            forms = {"cost/tokens": ",.0f", "cost/flops": ".1e", "share:cost/flops": ".1%"}
            cells += [str(cite(each, field, form)) for field, form in forms.items()]
        else:
            cells += ["", "", ""]
        yield f"| {' | '.join(cells)} | {cite(each, 'seed', '.0f')} |"
    yield f"| all | | | {cite(evidence.model, 'sum:cost/flops', '.1e')} | | |"
    yield ""
    versions = evidence.records[evidence.model].execution.get("versions", {})
    used = [
        f"{name} {cite(evidence.model, pointer('execution', 'versions', name), 's')}"
        for name in ("ontogeny", "torch")
        if name in versions
    ]
    if used:
        yield f"Made with {' and '.join(used)}. The settings of each stage stand in its record."


def _limits(evidence: Evidence) -> Iterator[str]:
    cite = evidence.cite
    yield (
        f"- Prompt and answer together: {cite(CONFIG, 'max_position_embeddings', ',.0f')} tokens."
    )
    yield (
        "- It was tested for what stands under Results and for nothing else: not for truth, bias, "
        "safety, privacy, or resistance to misuse."
    )
    if evidence.imported:
        yield "- What its weights learnt before they were imported, these records do not say."
    else:
        yield "- It knows only the kinds of text listed under Data."


def _licence(words: Words) -> Iterator[str]:
    chosen = "was chosen by nobody" if words.license == "other" else f"is `{words.license}`"
    yield f"The licence of the weights {chosen}. [{LICENCES}]({LICENCES}) holds what each source of"
    yield "data says of itself."


def _checking() -> Iterator[str]:
    yield "```bash"
    yield f"sha256sum -c {SUMS}   # every byte"
    yield "ontogeny verify .         # every byte, every record, every number on this card"
    yield "```"
    yield ""
    yield (
        f"`{FOLDER}/` holds the records, each sealed by a digest of itself, of everything that the "
        "model and the measurements came from. A record's config and seed are what its stage was "
        "given; the same stage on the same parents measures the same numbers again."
    )
