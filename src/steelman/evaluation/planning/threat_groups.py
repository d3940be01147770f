"""What an evaluation is up against: one threat after another, each with the attacks made inside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from steelman.attacks import AttackLike, Finds
from steelman.errors import InputError
from steelman.threat import Threat


@dataclass(frozen=True, eq=False)
class ThreatGroup:
    """One threat and its attacks.

    place: among the threat groups.  norm, eps: "none" and 0 where no ball describes the attacks.
    """

    place: int
    norm: str
    eps: float
    threat: Threat
    attacks: tuple[AttackLike, ...]

    @property
    def bounded(self) -> bool:
        """Whether a ball describes it."""
        return self.norm != "none"

    @property
    def title(self) -> str:
        """As progress and errors name it."""
        return f"{self.norm} {self.eps:g}" if self.bounded else "outside every ball"


def threat_groups(attacks: AttackLike | Sequence[AttackLike]) -> tuple[ThreatGroup, ...]:
    """Returns the threats of these attacks, those of one norm by rising eps.

    Raises InputError for no attack, a targeted one, one with an eps for each image, one that looks for the smallest
    change and has no radius, and for attacks of one norm and eps of one name, or in different boxes or grids.
    """
    listed = tuple(attacks) if isinstance(attacks, Sequence) else (attacks,)
    if not listed:
        raise InputError("expected at least one attack, got none")
    if any(attack.targeted for attack in listed):
        raise InputError("expected untargeted attacks, got a targeted one: its labels would be wanted classes")
    groups: dict[tuple[str, float], list[AttackLike]] = {}
    for attack in listed:
        groups.setdefault((_norm(attack), _eps(attack)), []).append(attack)
    norms = list(dict.fromkeys(norm for norm, _ in groups))
    ordered = sorted(groups, key=lambda key: (norms.index(key[0]), key[1]))
    return tuple(
        ThreatGroup(place, norm, eps, _shared(groups[norm, eps]), tuple(groups[norm, eps]))
        for place, (norm, eps) in enumerate(ordered)
    )


def _shared(attacks: list[AttackLike]) -> Threat:
    first = attacks[0].threat
    for at, attack in enumerate(attacks[1:], 1):
        own = attack.threat
        _once(attack, attacks[:at])
        if (own.low, own.high, own.levels) != (first.low, first.high, first.levels):
            raise InputError(
                f"expected attacks of one threat in the same box and on the same grid, got {first!r} and {own!r}: "
                "evaluate them apart"
            )
    return first


def _once(attack: AttackLike, before: list[AttackLike]) -> None:
    """A journal knows the attacks of one threat by their names: of two that share one it would make the first."""
    for other in before:
        if other.key() == attack.key():
            raise InputError(f"expected every attack once, got {attack.name} twice at one eps: leave one out")
        if other.name == attack.name:
            raise InputError(
                f"expected attacks of one eps under names of their own, got two that are called {attack.name}: "
                'evaluate them apart, or in Python rename one, as in dataclasses.replace(attack, name="mine")'
            )


def _norm(attack: AttackLike) -> str:
    eps = attack.threat.eps
    return attack.threat.ball.name if isinstance(eps, Tensor) or math.isfinite(eps) else "none"


def _eps(attack: AttackLike) -> float:
    eps = attack.threat.eps
    if isinstance(eps, Tensor) and eps.dim():
        raise InputError("expected one eps for every image in an evaluation, got one for each: evaluate them apart")
    if math.isfinite(float(eps)):
        return float(eps)
    if attack.finds is Finds.NEAREST:
        raise InputError(f"expected a radius for {attack.name}, as what breaks inside it is counted: say eps, or --eps")
    return 0.0
