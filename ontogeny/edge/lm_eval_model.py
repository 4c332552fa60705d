"""Our model inside lm-evaluation-harness: whatever answers as a `Policy`, as an `LM` of theirs.

`lm_eval.simple_evaluate(model=OntogenyLM(policy, tokenizer, context), tasks=[...])`. lm_eval finds
models of other packages by no entry point, but importing this module registers the name
"ontogeny": `simple_evaluate(model="ontogeny", model_args="store=life,artifact=sft")`.

Text is text: what spells a special token in a question is encoded as text (HFLM makes the token of
it). Special tokens come from a chat template alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ontogeny import bridge
from ontogeny.base.errors import InputError
from ontogeny.base.store import Store
from ontogeny.edge.lm_eval_library import TemplateLM, lm_eval_utils, register_model
from ontogeny.evaluate.suite_answers import Answers, Room, encoded, first_id, text_until
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.policy import Policy, Request
from ontogeny.text.message import Message
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer

MOST_TOKENS = 256
"""Of an answer where a task does not say, as HFLM has it."""
COUNTS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
"""What a task may say of sampling; the names are transformers' and ours."""


@register_model("ontogeny")
class OntogenyLM(TemplateLM):  # type: ignore[misc]
    """A policy with its tokenizer.

    Args:
        policy: answers.
        tokenizer: of the model behind it.
        context: most tokens it reads.
        answers: asks the policy; give one with a journal for a run that survives a kill.
        most: tokens of an answer where a task does not say.
    """

    backend = "causal"

    def __init__(
        self,
        policy: Policy,
        tokenizer: Tokenizer,
        context: int,
        answers: Answers | None = None,
        most: int = MOST_TOKENS,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.answers = answers or Answers(policy)
        self.room = Room(context)
        self.most = most
        self._rendered: dict[str, tuple[int, ...]] = {}

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: Mapping[str, Any], additional_config: Mapping[str, Any] | None = None
    ) -> OntogenyLM:
        """From `store` (a directory), `artifact` (a model in it) and `slots` (answers at once).

        What lm_eval adds of batch sizes and devices is ours to choose and is left out.

        Raises:
            InputError: no such model, or another argument.
        """
        del additional_config
        known = {"store": "life", "artifact": "", "slots": 32}
        if unknown := sorted(set(arg_dict) - set(known)):
            raise InputError(f"no argument '{unknown[0]}'; give {', '.join(known)}")
        given = {**known, **arg_dict}
        artifact = Store.open(Path(str(given["store"]))).resolve(str(given["artifact"]))
        policy, tokenizer = bridge.load_policy(artifact, slots=int(given["slots"]))
        return cls(policy, tokenizer, bridge.context_of(policy))

    @classmethod
    def create_from_arg_string(
        cls, arg_string: str, additional_config: Mapping[str, Any] | None = None
    ) -> OntogenyLM:
        """From `store=life,artifact=NAME`; see `create_from_arg_obj`.

        lm_eval's own parser would make a number of an id that is spelled in digits.
        """
        parts = (part.partition("=") for part in arg_string.split(",") if part)
        given = {name.strip(): value.strip() for name, _, value in parts}
        return cls.create_from_arg_obj(given, additional_config)

    @property
    def eot_token_id(self) -> int:
        """Ends a text."""
        return self.tokenizer.vocabulary.eos

    @property
    def prefix_token_id(self) -> int:
        """Stands before a text with nothing before it: bos where there is one, else eos."""
        return first_id(self.tokenizer)

    @property
    def max_length(self) -> int:
        """The model's context."""
        return self.room.longest

    @property
    def max_gen_toks(self) -> int:
        """Tokens of an answer where a task does not say."""
        return self.most

    @property
    def tokenizer_name(self) -> str:
        """Tells caches of prompts apart by their template."""
        return f"ontogeny-{self.tokenizer.vocab_size}"

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Ids of a text, or of what `apply_chat_template` made."""
        if string in self._rendered:
            return list(self._rendered[string])
        if add_special_tokens is False:
            return self.tokenizer.encode(string)
        return encoded(self.tokenizer, string)

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = True
    ) -> list[tuple[float, bool]]:
        """(log-probability, whether greedy) of each continuation; cut as `TemplateLM` cuts."""
        found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm)
        return found

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        if context not in self._rendered:
            plain: tuple[list[int], list[int]] = super()._encode_pair(context, continuation)
            return plain
        ids = self._rendered[context]
        special = set(self.tokenizer.specials.values())
        last = max((place for place, id_ in enumerate(ids) if id_ in special), default=-1) + 1
        tail = self.tokenizer.decode_bytes(ids[last:]).decode("utf-8", "replace")
        cut = [tail.rstrip(), tail + continuation]
        before, both = self.tokenizer.encode_batch(cut, behind_special=True)
        return [*ids[:last], *before.tolist()], both.tolist()[len(before) :]

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_more: Any
    ) -> list[tuple[float, bool]]:
        asked = [self.room.continuation(before, behind) for _, before, behind in requests]
        found = [(each.log_prob, each.greedy) for each in self.answers.score(asked)]
        for (texts, _, _), answer in zip(requests, found, strict=True):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, answer)
        return found

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = True
    ) -> list[float]:
        """Log-probability of whole texts, in windows that do not overlap but by one token."""
        del disable_tqdm
        counts, windows = [], []
        for request in requests:
            (text,) = request.args
            pairs = lm_eval_utils.get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            own = [(None, *lm_eval_utils.make_disjoint_window(each)) for each in pairs]
            counts.append(len(own))
            windows += own
        nats = iter(self._loglikelihood_tokens(windows))
        found = [sum(next(nats)[0] for _ in range(count)) for count in counts]
        for request, total in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        """A text for each context, up to the first of its `until`."""
        del disable_tqdm
        asked, ends = [], []
        for place, request in enumerate(requests):
            context, told = request.args
            most, until, sampling = _manner(told, self.most, place)
            ids = self.tok_encode(context) or [self.prefix_token_id]
            prompt = self.room.prompt(ids, most)
            stop = self.tokenizer.stops(chats=True)
            asked.append(Request(prompt, most, sampling, stop, until))
            ends.append(until)
        said = self.answers.sample(asked)
        found = [
            text_until(self.tokenizer, ids, until) for ids, until in zip(said, ends, strict=True)
        ]
        for request, text in zip(requests, found, strict=True):
            self.cache_hook.add_partial("generate_until", request.args, text)
        return found

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The source of the template, for lm_eval's records."""
        return self.tokenizer.chat_template if chat_template else None

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, Any]], add_generation_prompt: bool = True
    ) -> str:
        """The conversation as text; `tok_encode` knows it again and gives the template's ids.

        Raises:
            InputError: the model has no template, or two conversations look the same as text and
                are not.
        """
        turns = [Message(each["role"], each["content"]) for each in chat_history]
        if not add_generation_prompt:
            raise InputError("an answer that is begun by the task is not rendered; leave it out")
        ids = render(turns, self.tokenizer, generation_prompt=True).ids
        text = self.tokenizer.decode_bytes(ids, keep_special=True).decode("utf-8", "replace")
        if self._rendered.setdefault(text, ids) != ids:
            raise InputError("a question spells out the chat template's own tokens; leave it out")
        return text


def _manner(
    told: Mapping[str, Any], most: int, place: int
) -> tuple[int, tuple[str, ...], Sampling]:
    """Most tokens, what ends it, and the sampling that a task's generation arguments mean."""
    left = dict(told)
    counts = [left.pop(name, None) for name in COUNTS]
    until = left.pop("until", None) or ()
    samples = left.pop("do_sample", None)
    rules = {name: left.pop(name) for name in SAMPLING if left.get(name) is not None}
    if left:
        raise InputError(f"the task's generation argument '{min(left)}' is not known here")
    if samples is False or (samples is None and not rules.get("temperature")):
        rules = {"temperature": 0.0}
    ends = (until,) if isinstance(until, str) else tuple(each for each in until if each)
    count = next((int(each) for each in counts if each is not None), most)
    return count, ends, Sampling(seed=place, **rules)
