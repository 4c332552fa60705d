"""What a request wants of its text, followed id by id: stop strings, a grammar, or both.

Knows no model; a policy asks it before each token and tells it the id that was chosen. It is a
guide of our engine's (`infer.guide`), in form: the halves do not touch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ontogeny.base.errors import InputError
from ontogeny.rollout.policy import Request
from ontogeny.text.constraint import Constraint
from ontogeny.text.stop_strings import StopStrings
from ontogeny.text.tokenizer import Tokenizer


class TextGuide:
    """Follows one completion of a request from its first token.

    Raises:
        InputError: there is no tokenizer, or the grammar is refused (see `Constraint.check`).
    """

    def __init__(self, request: Request, tokenizer: Tokenizer | None) -> None:
        if tokenizer is None:
            raise InputError(
                "stop strings and grammars are about text; give the policy the model's tokenizer"
            )
        self._strings = StopStrings(request.stop_strings, tokenizer)
        self._constraint: Constraint | None = None
        if request.grammar is not None:
            self._constraint = Constraint(request.grammar, tokenizer, request.stop)

    @property
    def matched(self) -> str | None:
        """The stop string that ended the completion."""
        return self._strings.matched

    def allowed(self) -> NDArray[np.int32] | None:
        """Bits of the ids that may come next (`Constraint.allowed`); None: all may.

        Raises:
            InputError: the grammar can be followed no further.
        """
        return None if self._constraint is None else self._constraint.allowed()

    def accept(self, id_: int) -> bool:
        """This id was chosen, none of the request's stop ids; whether the completion is whole.

        Raises:
            InputError: the grammar does not allow it, or it is no id of the tokenizer's.
        """
        if self._strings.accept(id_):
            return True
        return self._constraint is not None and self._constraint.accept(id_)


def guide(request: Request, tokenizer: Tokenizer | None) -> TextGuide | None:
    """Who follows the text of a request's completion; None where it has no wishes about it.

    Raises:
        InputError: see `TextGuide`.
    """
    wishes = request.grammar is not None or bool(request.stop_strings)
    return TextGuide(request, tokenizer) if wishes else None
