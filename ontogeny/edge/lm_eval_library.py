"""The one module that imports lm-evaluation-harness (extra `eval`). Knows no model."""

from __future__ import annotations

from ontogeny.base.errors import InputError

try:
    import datasets
    import lm_eval
    from lm_eval import evaluator, tasks
    from lm_eval import utils as lm_eval_utils
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
except ImportError:
    raise InputError(
        "evaluating through lm_eval needs it; run: pip install 'ontogeny[eval]'"
    ) from None

__all__ = ["TemplateLM", "datasets", "evaluator", "lm_eval", "lm_eval_utils", "register_model"]
__all__ += ["tasks"]
