"""What the attackers of one case did: which of them broke what, and at what cost."""

from __future__ import annotations

from dataclasses import dataclass

from steelman.records import Breaker, Case, Protocol
from steelman.report import formatting


@dataclass(frozen=True)
class AttackLine:
    """One attack in the words of a table.

    parts: of a cascade, how many images each part broke.  tried, broke: images.  reach, share: both as percent of all
    images of the case, for a bar.
    forwards, backwards: passes, for all images.
    """

    attack: str
    parts: str
    through: str
    protocol: Protocol
    tried: str
    broke: str
    reach: float
    share: float
    forwards: str
    backwards: str
    seconds: str


@dataclass(frozen=True)
class Cost:
    """What a case cost.

    percent: what was spent, of what every attack on every image would have taken; None where that is not known.
    """

    spent: str
    full: str
    percent: float | None
    forwards: str
    backwards: str
    seconds: str
    each: str

    @property
    def saved(self) -> str:
        """How much less than everything was spent, in words."""
        if self.percent is None:
            return ""
        if self.percent >= 100:
            return "Nothing was spared: as much was spent as every attack on every image takes."
        return f"{self.percent:.1f} % of what every attack on every image would have taken."


def attempts(case: Case) -> tuple[AttackLine, ...]:
    """Returns every attack, in the order they were made."""
    return tuple(_attempt(breaker, case.n) for breaker in case.breakers)


def hardest(case: Case) -> tuple[str, str]:
    """Returns the name of the adaptive attack that broke most and what to say of it; "" where none broke anything."""
    known = [one for one in case.breakers if one.protocol == Protocol.ADAPTIVE and one.broke]
    total = sum(one.broke for one in known)
    others = max(0, case.clean - case.kept - total)
    also = (
        f"{formatting.counted(others, 'image')}{' more' * bool(known)} {'is' if others == 1 else 'are'} known to break "
        "by what others found: at a smaller ε, for the curve, or by an attacker who does not know the pipeline."
    )
    if not known:
        return "", also if others else "No attack broke anything."
    most = max(known, key=lambda one: one.broke)
    said = (
        f"broke most: {most.broke:,} of the {formatting.counted(total, 'image')} broken by attackers who know the "
        "pipeline. An attack is made on what those before it did not break."
    )
    return formatting.attack(most.attack), f"{said} {also}" if others else said


def cost(case: Case) -> Cost:
    """Returns what all attacks of a case took together."""
    forwards = sum(one.forwards for one in case.breakers)
    backwards = sum(one.backwards for one in case.breakers)
    return Cost(
        spent=f"{case.spent:,}",
        full=f"{case.full:,}",
        percent=100 * case.spent / case.full if case.full else None,
        forwards=f"{forwards:,}",
        backwards=f"{backwards:,}",
        seconds=formatting.duration(sum(one.seconds for one in case.breakers)),
        each=f"{case.spent / case.n:,.0f}" if case.n else formatting.MISSING,
    )


def _attempt(one: Breaker, n: int) -> AttackLine:
    return AttackLine(
        attack=formatting.attack(one.attack),
        parts=", ".join(f"{name.removeprefix(f'{one.attack}/')} {count:,}" for name, count in one.parts),
        through=one.through or ("the bare classifier" if one.protocol == Protocol.STATIC else formatting.MISSING),
        protocol=one.protocol,
        tried=f"{one.tried:,}",
        broke=f"{one.broke:,}",
        reach=min(100.0, 100 * formatting.fraction(one.tried, n)),
        share=min(100.0, 100 * formatting.fraction(one.broke, n)),
        forwards=f"{one.forwards:,}",
        backwards=f"{one.backwards:,}",
        seconds=formatting.duration(one.seconds),
    )
