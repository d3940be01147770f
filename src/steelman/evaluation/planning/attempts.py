"""The worst case: one attack after another through every way, each on what still holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from steelman.attacks import AttackLike, Result, Worst
from steelman.attacks.engine.problem import put, take
from steelman.evaluation import measure
from steelman.evaluation.padding import PadBatch
from steelman.evaluation.planning.attacker import Attacker
from steelman.progress import OnProgress


@dataclass(frozen=True, eq=False)
class Attempt:
    """One attack as it is made on a pipeline, one way.

    name: of the attack.  through: of the way.  model: what it is made on, which answers as the pipeline does.
    """

    name: str
    through: str
    model: nn.Module
    attack: AttackLike

    def __call__(
        self,
        attacker: Attacker,
        x: Tensor,
        y: Tensor,
        *,
        indices: Tensor,
        seed: int = 0,
        precision: str = "auto",
        progress: OnProgress | None = None,
    ) -> Result:
        """Returns what it found, as an attack does; what broke a random pipeline has done so on fresh draws too.

        What seemed broken there and then held is attacked once more, to its worst.
        """
        how: dict[str, Any] = {"seed": seed, "precision": precision}
        result = self.attack(PadBatch(self.model), x, y, indices=indices, progress=progress, **how)
        if not attacker.random:
            return result
        result, doubtful = _confirmed(result, attacker, y, seed)
        if len(doubtful) and self.attack.leaves:
            again = self.attack.with_goal(Worst())(
                PadBatch(self.model), x[doubtful], y[doubtful], indices=indices[doubtful], **how
            )
            again, _ = _confirmed(again, attacker, y[doubtful], seed)
            before = take(result, doubtful)
            spent = {name: getattr(before, name) + getattr(again, name) for name in ("forwards", "backwards")}
            put(result, doubtful, again._replace(natural=before.natural, **spent))
        return result

    def parts(self, by: Tensor) -> list[str]:
        """Returns the name of what broke each sample, "" where nothing did; by: (N,), as in a result."""
        names = [self.name if part == self.name else f"{self.name}/{part}" for part in self.attack.parts()]
        return ["" if at < 0 else names[at] for at in by.tolist()]


def attempts(attacker: Attacker, attacks: Sequence[AttackLike]) -> Iterator[Attempt]:
    """Yields every attempt that these attacks of one threat come to: each on every way, then what a full one adds."""
    for attack in attacks:
        for through, model, prepared in attacker.prepared(attack):
            yield Attempt(prepared.name, through, model, prepared)
    for through, model, prepared in attacker.fallbacks(attacks[0]) if attacks else ():
        yield Attempt(prepared.name, through, model, prepared)


def _confirmed(result: Result, attacker: Attacker, y: Tensor, seed: int) -> tuple[Result, Tensor]:
    """The result by fresh draws of the pipeline, and which samples only seemed to be broken."""
    seemed = result.broken.nonzero().squeeze(1)
    if not len(seemed):
        return result, seemed
    holds = measure.right(
        attacker.pipeline, result.x[seemed], y[seemed], seed=seed + 1, draws=attacker.draws, abstention="right"
    )
    doubtful = seemed[holds]
    broken, by, margin = result.broken.clone(), result.by.clone(), result.margin.clone()
    broken[doubtful], by[doubtful] = False, -1
    margin[doubtful] = margin[doubtful].clamp(max=0)
    return result._replace(broken=broken, by=by, margin=margin), doubtful
