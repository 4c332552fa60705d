"""The families of dense decoders that differ in form, as data. Knows no weights and no sizes.

What varies between models of one family (windows, caps, bases) stands in their `Shape`; what the
whole family shares stands here. A name of transformers goes with each, so that a model leaves and
enters under the class that loads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Norms = Literal["pre", "post", "sandwich"]
QKNorm = Literal["none", "head", "row"]
Activation = Literal["silu", "gelu_tanh"]


@dataclass(frozen=True)
class Family:
    """The form of a family's layers.

    Args:
        model_type: as transformers calls it.
        architecture: the class of transformers that loads it.
        norms: where a sublayer's norm stands: before it, after it (and before the sum), or both.
        qk_norm: of queries and keys: none, over each head, or over all heads of a row together.
        qkv_bias: queries, keys and values have a bias.
        activation: of the gate: SiLU, or GELU in its tanh form.
        centred: norm weights are stored around 0 (the factor is 1 + w), and embeddings are
            multiplied with sqrt(hidden).
        letters: the kinds of layers it can have (`Shape.pattern`).
        own_local_rope: windowed layers have plain positions of their own base.
    """

    model_type: str
    architecture: str
    norms: Norms = "pre"
    qk_norm: QKNorm = "none"
    qkv_bias: bool = False
    activation: Activation = "silu"
    centred: bool = False
    letters: str = "g"
    own_local_rope: bool = False


FAMILIES: dict[str, Family] = {
    each.model_type: each
    for each in (
        # Touvron et al. 2023, arXiv:2307.09288; Dubey et al. 2024, arXiv:2407.21783; SmolLM2:
        # Allal et al. 2025, arXiv:2502.02737
        Family("llama", "LlamaForCausalLM"),
        # Jiang et al. 2023, arXiv:2310.06825
        Family("mistral", "MistralForCausalLM", letters="gl"),
        # Yang et al. 2024, arXiv:2407.10671 and arXiv:2412.15115
        Family("qwen2", "Qwen2ForCausalLM", qkv_bias=True, letters="gl"),
        # Yang et al. 2025, arXiv:2505.09388
        Family("qwen3", "Qwen3ForCausalLM", qk_norm="head", letters="gl"),
        # layers without positions: Yang et al. 2025, arXiv:2501.18795
        Family("smollm3", "SmolLM3ForCausalLM", letters="gn"),
        # OLMo team 2025, arXiv:2501.00656
        Family("olmo2", "Olmo2ForCausalLM", norms="post", qk_norm="row"),
        Family(
            "olmo3",
            "Olmo3ForCausalLM",
            norms="post",
            qk_norm="row",
            letters="gl",
            own_local_rope=True,
        ),
        # Gemma team 2024, arXiv:2408.00118
        Family(
            "gemma2",
            "Gemma2ForCausalLM",
            norms="sandwich",
            activation="gelu_tanh",
            centred=True,
            letters="gl",
        ),
        # Gemma team 2025, arXiv:2503.19786
        Family(
            "gemma3_text",
            "Gemma3ForCausalLM",
            norms="sandwich",
            qk_norm="head",
            activation="gelu_tanh",
            centred=True,
            letters="gl",
            own_local_rope=True,
        ),
    )
}
