"""What `ontogeny chat` is asked about its answers, each mistake told at its option or file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ontogeny.base.errors import InputError
from ontogeny.cli.arguments import at
from ontogeny.plan.sampling import Sampling
from ontogeny.text.constraint import Constraint
from ontogeny.text.grammar import MOST_BYTES, Grammar
from ontogeny.text.tokenizer import Tokenizer

_REMEDY = {
    "--regex": "mend the pattern (docs/generation.md says which there are)",
    "--json-schema": "mend the schema, or leave out what is named",
}


@dataclass(frozen=True)
class Manner:
    """How answers are drawn, and what form they have.

    Args:
        seed: the root of the draws.
        stop: texts that end an answer and do not belong to it.
        schema: file of a JSON schema.
        weights: what generation multiplies by.

    Raises:
        InputError: an option says what makes no sense, or the file cannot be read.
    """

    max_tokens: int
    temperature: float
    seed: int
    as_json: bool
    top_p: float = 0.95
    stop: tuple[str, ...] = ()
    regex: str | None = None
    schema: Path | None = None
    weights: Literal["fp32", "int8", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        if not all(self.stop):
            raise at("--stop", "a stop string is empty; leave it out")
        if self.regex is not None and self.schema is not None:
            raise at("--json-schema", "an answer has one form; give --regex or --json-schema")
        try:
            self.sampling(0)
        except InputError as error:
            option = "--top-p" if "top_p" in error.reason else "--temperature"
            raise at(option, error.reason) from None
        self.grammar()

    def sampling(self, seed: int) -> Sampling:
        """How one answer is drawn."""
        return Sampling(temperature=self.temperature, top_p=self.top_p, seed=seed)

    def grammar(self) -> Grammar | None:
        """The form of an answer."""
        try:
            if self.regex is not None:
                return Grammar("regex", self.regex)
            if self.schema is not None:
                return Grammar("json_schema", _text(self.schema))
        except InputError as error:
            raise self._placed(error) from None
        return None

    def checked(self, tokenizer: Tokenizer) -> Grammar | None:
        """The form of an answer, one that can be followed.

        Raises:
            InputError: it cannot, for a reason in the option or in the file.
        """
        grammar = self.grammar()
        try:
            if grammar is not None:
                Constraint.check(grammar, tokenizer)
        except InputError as error:
            raise self._placed(error) from None
        return grammar

    def _placed(self, error: InputError) -> InputError:
        reason = error.reason
        if ";" not in reason:  # what a library says of a grammar names no remedy
            reason += f"; {_REMEDY['--regex' if self.schema is None else '--json-schema']}"
        if self.schema is not None:
            return InputError(reason, file=self.schema, line=error.line)
        return at("--regex", reason)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1).decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read the JSON schema ({error.strerror}); mend its path") from None
    except UnicodeDecodeError:
        raise InputError("the JSON schema is not UTF-8; save it as UTF-8") from None
