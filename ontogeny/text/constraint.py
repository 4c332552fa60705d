"""What a grammar allows to come next, as a mask of ids: llguidance (extra `grammar`) computes it.

Knows no model. A stranger's grammar is tried in a process of its own first (`grammar_trial`):
llguidance's limits bound each step, but neither the stack nor the time of compiling.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ontogeny.base.errors import InputError
from ontogeny.text.grammar import Grammar
from ontogeny.text.tokenizer import Tokenizer

try:
    from llguidance import LLMatcher, LLParserLimits, LLTokenizer

    AVAILABLE = True
except ImportError:
    AVAILABLE = False

Words = NDArray[np.int32]
LIMITS: dict[str, Any] = {
    "initial_lexer_fuel": 500_000,
    "step_lexer_fuel": 100_000,
    "step_max_items": 20_000,
    "max_lexer_states": 50_000,
    "max_grammar_size": 200_000,
    "precompute_large_lexemes": False,
    "verbose_errors": False,
}
"""Of llguidance: work for the first step and for each, states (2 kB each), symbols."""
TRIAL = Path(__file__).with_name("grammar_trial.py")
MEMORY_BYTES, CPU_SECONDS, WALL_SECONDS = 512 << 20, 2, 60
STACK_BYTES = 512 << 10
"""Of the trial; every thread has more."""
WHITESPACE: Any = {"whitespace_pattern": r"[ \t\n]{1,24}"}
"""Between the parts of a JSON text: without an end to it, a small model writes nothing else."""
MOST_WORDS = 300
SPECIAL = b"\xff"
"""How llguidance marks a token that is no text."""


class Constraint:
    """Follows one completion through a grammar; a `Guide` of the engine's.

    The bytes of the ids together are a text of the grammar. Special tokens never come, but for the
    ids of `stop`, and these exactly where the text may end. Where nothing can follow the text, the
    completion is whole.

    Args:
        stop: ids that end the completion.

    Raises:
        InputError: `check` would refuse the grammar.
    """

    def __init__(self, grammar: Grammar, tokenizer: Tokenizer, stop: Iterable[int] = ()) -> None:
        self.check(grammar, tokenizer)
        words = _vocabulary(tokenizer).text
        self._stop = _bits(stop, len(words))
        self._text = words & ~self._stop
        self._matcher = _compiled(grammar, tokenizer).deep_copy()

    @staticmethod
    def check(grammar: Grammar, tokenizer: Tokenizer) -> None:
        """Tries the grammar, unless that was done before: takes about 0.1 s, at most 3 s of work.

        Raises:
            InputError: it is wrong, uses what llguidance does not know, or asks for too much.
        """
        if not AVAILABLE:
            raise InputError("grammars need llguidance; run: pip install 'ontogeny[grammar]'")
        fault = _fault(grammar)
        if fault is None:
            matcher = _compiled(grammar, tokenizer)
            fault = _reason(matcher.get_error()) if matcher.is_error() else None
        if fault is not None:
            kind = {"regex": "regex", "json_schema": "JSON schema", "lark": "Lark grammar"}
            raise InputError(f"this {kind[grammar.kind]} cannot be followed: {fault}")

    def allowed(self) -> Words:
        """Bits of the ids that may come next: id i is bit i % 32 of word i // 32.

        Raises:
            InputError: the next step needs more work or memory than one may.
        """
        found = np.frombuffer(self._matcher.compute_bitmask(), np.int32)[: len(self._text)]
        self._demand_sound()
        words: Words = found & self._text
        return words | self._stop if self._matcher.is_accepting() else words

    def accept(self, id_: int) -> bool:
        """This id was chosen, one that was allowed; whether nothing can follow it.

        Raises:
            InputError: the grammar does not allow it, or following it needs more than may be.
        """
        self._matcher.consume_token(id_)
        self._demand_sound()
        return bool(self._matcher.is_stopped())

    def _demand_sound(self) -> None:
        if self._matcher.is_error():
            reason = _reason(self._matcher.get_error())
            raise InputError(f"the grammar can be followed no further: {reason}; simplify it")


class _Vocabulary:
    """A tokenizer in the form that llguidance reads, and the bits of the ids that are text.

    Its names are those of llguidance's `TokenizerWrapper`.
    """

    is_tokenizer_wrapper = True
    bos_token_id = None
    special_token_ids: Sequence[int] = ()

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        spelled = [tokenizer.token_bytes(id_) for id_ in range(tokenizer.vocab_size)]
        for id_ in tokenizer.specials.values():
            spelled[id_] = b""  # what has no bytes is never allowed
        text = [id_ for id_, data in enumerate(spelled) if data]
        self.eos_token_id = tokenizer.end_of_text
        self.tokens = spelled.copy()
        self.tokens[self.eos_token_id] = SPECIAL + b"end"
        self.library = LLTokenizer(cast(Any, self))
        self.text = _bits(text, -(-tokenizer.vocab_size // 32))

    def __call__(self, text: str) -> list[int]:
        """Ids whose bytes are exactly `text`'s, as the tokenizer cuts them wherever it can.

        llguidance asks where a grammar leaves no choice of text; the model then sees the tokens
        that it has learnt.
        """
        # behind a line's end no tokenizer puts a space in front
        for lead in ("", "\n"):
            ids = self.tokenizer.encode(lead + text)
            sizes = np.cumsum([len(self.tokens[id_]) for id_ in reversed(ids)])
            count = int(np.searchsorted(sizes, len(text.encode()))) + 1
            if b"".join(self.tokens[id_] for id_ in ids[-count:]) == text.encode():
                return ids[-count:]
        return list(self.library.greedy_tokenize(text))  # where encoding changes the text (NFC)


@lru_cache(maxsize=8)
def _vocabulary(tokenizer: Tokenizer) -> _Vocabulary:
    return _Vocabulary(tokenizer)


@lru_cache(maxsize=32)
def _compiled(grammar: Grammar, tokenizer: Tokenizer) -> LLMatcher:
    """A matcher at the beginning, to be copied; perhaps one in error."""
    library = _vocabulary(tokenizer).library
    return LLMatcher(library, _spelled(grammar), log_level=0, limits=LLParserLimits(**LIMITS))


def _spelled(grammar: Grammar) -> str:
    """The grammar in llguidance's own form.

    Raises:
        InputError: a schema is no JSON.
    """
    if grammar.kind == "regex":
        return str(LLMatcher.grammar_from_regex(grammar.text))
    if grammar.kind == "lark":
        return str(LLMatcher.grammar_from_lark(grammar.text))
    try:
        if not isinstance(json.loads(grammar.text), dict):
            raise InputError("the JSON schema is no object; give one in braces")
        return str(LLMatcher.grammar_from_json_schema(grammar.text, defaults=WHITESPACE))
    except json.JSONDecodeError as error:
        reason = f"the JSON schema is no JSON ({error.msg})"
        raise InputError(f"{reason}; mend it", line=error.lineno) from None
    except RecursionError:
        raise InputError("the JSON schema is nested too deeply; simplify it") from None
    except ValueError as error:
        raise InputError(f"the JSON schema cannot be read: {_reason(str(error))}") from None


@lru_cache(maxsize=256)
def _fault(grammar: Grammar) -> str | None:
    """What the trial of a grammar says against it.

    Raises:
        InputError: see `_spelled`; or the machine is too busy to tell.
    """
    words = [MEMORY_BYTES, CPU_SECONDS, STACK_BYTES, LIMITS]
    command = [sys.executable, "-P", str(TRIAL), *map(json.dumps, words)]
    try:
        done = subprocess.run(
            command, input=_spelled(grammar).encode(), capture_output=True, timeout=WALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"no verdict on the grammar in {WALL_SECONDS} s; try again") from None
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"it takes more than {CPU_SECONDS} s to compile; simplify it"
    if done.returncode:
        return "it is nested too deeply or takes too much memory; simplify it"
    verdict: str | None = json.loads(done.stdout)
    return verdict and _reason(verdict)


def _reason(message: str) -> str:
    """llguidance's message in one line: of a regex's error the last, of others the first."""
    lines = [" ".join(line.split()) for line in message.splitlines()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    said = errors[-1] if errors else lines[0] if lines else "no reason given"
    if said.startswith("NoExtension"):
        return "no text satisfies it"
    said = said.partition("; following special tokens")[0]
    return said if len(said) <= MOST_WORDS else f"{said[:MOST_WORDS]}..."


def _bits(ids: Iterable[int], words: int) -> Words:
    """Words of 32 bits in which these ids are set; those beyond the last word are left out."""
    flags = np.zeros(words * 32, np.uint8)
    inside = [id_ for id_ in ids if 0 <= id_ < words * 32]
    flags[inside] = 1
    return np.packbits(flags, bitorder="little").view(np.int32)
