"""Model + tokens + yardstick -> measurement: bits per byte on held-out text, beside `xz -9e`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.corpus.shards import domains, read_shard
from ontogeny.evaluate.bits import NATS_TO_BITS, bits_per_byte
from ontogeny.evaluate.series import Series, write_series
from ontogeny.run.work import Made, Work


@dataclass(frozen=True)
class BitsPerByte:
    """Scores every held-out document of `domain`; the interval is a bootstrap over documents.

    Raises:
        InputError: when nothing of the domain is held out, or the yardstick is of another domain.
    """

    domain: str = "english"

    stage: ClassVar[str] = "bits_per_byte"
    version: ClassVar[int] = 2
    takes: ClassVar[tuple[str, ...]] = ("model", "tokens", "yardstick")
    makes: ClassVar[str] = "measurement"

    def __call__(self, work: Work, model: Artifact, tokens: Artifact, yardstick: Artifact) -> Made:
        """Writes series.json: bits over bytes of each document, and what xz needs for all."""
        known = domains(tokens, "heldout")
        if self.domain not in known:
            raise InputError(
                f"nothing of domain '{self.domain}' is held out; there is {', '.join(known)}"
            )
        xz = yardstick.metric(f"{self.domain}.xz_after_training")
        shard = read_shard(tokens, "heldout", self.domain)
        nats, _, flops = bridge.score_shard(model, shard, work)
        name = f"{self.domain}.bpb {work.named_seed('bootstrap')}"
        bits = bits_per_byte(nats.tolist(), shard.bytes.tolist(), name)
        units = [f"{self.domain}/{number}" for number in range(len(shard))]
        sizes = [float(size) for size in shard.bytes]
        spent = [cost * NATS_TO_BITS for cost in nats.tolist()]
        write_series(
            work.payload,
            {
                f"{self.domain}.bits": Series(units, spent, sizes),
                f"{self.domain}.xz": Series([self.domain], [xz], [1.0]),
            },
        )
        verdict = "below" if bits.high < xz else "above" if bits.low > xz else "not told apart from"
        return Made(
            metrics={
                f"{self.domain}.bpb": {
                    "estimate": bits.value,
                    "low": bits.low,
                    "high": bits.high,
                    "documents": len(shard),
                },
                f"{self.domain}.xz_bpb": xz,
            },
            summary=(
                f"{bits.value:.3f} [{bits.low:.3f}, {bits.high:.3f}] bits per byte on {len(shard)} "
                f"held-out {self.domain} documents, {verdict} xz -9e ({xz:.3f})",
            ),
            tokens=shard.tokens,
            flops=flops,
        )
