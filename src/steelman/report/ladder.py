"""One case as figures below each other: clean, static, adaptive, certified; and the zones between them."""

from __future__ import annotations

from dataclasses import dataclass

from steelman.records import Case, Fate
from steelman.report import formatting


@dataclass(frozen=True)
class Rung:
    """One figure of a case.

    kind: "clean", "static", "adaptive", "repeated" or "certified".  says: what was done, in words.
    low, high: of its interval, in percent, where it has one.
    """

    kind: str
    name: str
    says: str
    count: int
    percent: float
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> str:
        """Its interval, as in "[68.4, 74.1]"; "" where it has none."""
        return "" if self.low is None else f"[{self.low:.1f}, {self.high:.1f}]"


@dataclass(frozen=True)
class Zone:
    """A share of the images that came to the same end."""

    kind: Fate
    name: str
    count: int
    percent: float


def rungs(case: Case) -> tuple[Rung, ...]:
    """Returns the figures there are, the least that was done to the images first."""
    known = [Rung("clean", "Clean", "nobody attacks", case.clean, _percent(case, case.clean))]
    if case.static is not None:
        says = "attacks made on the bare classifier"
        known.append(Rung("static", "Static", says, case.static, _percent(case, case.static)))
    says = "the worst of every attack" + (" through the whole pipeline" if case.static is not None else "")
    low, high = 100 * case.ci_low, 100 * case.ci_high
    known.append(Rung("adaptive", "Adaptive", says, case.kept, _percent(case, case.kept), low, high))
    if case.worst is not None:
        says = "correct in each of several answers to the worst image"
        known.append(Rung("repeated", "Asked again", says, case.worst, _percent(case, case.worst)))
    certified = case.certified_interval.certified
    if certified is not None:
        known.append(Rung("certified", "Certified", "no attack whatever", certified, _percent(case, certified)))
    return tuple(known)


def description(case: Case) -> str:
    """Returns the figures in words, as in "clean 99.0 %, adaptive 71.3 %"."""
    return formatting.listed(f"{rung.name.lower()} {formatting.percent(rung.percent / 100)}" for rung in rungs(case))


def fall(case: Case) -> str:
    """Returns what knowing the defence costs it, in a sentence; "" where there is no defence."""
    if case.static is None:
        return ""
    points = _percent(case, case.static) - _percent(case, case.kept)
    if points <= 0:
        return "The attacker who knows the defence breaks no more than the one who does not."
    return (
        f"{points:.1f} points of the static figure are owed to the attacker not knowing of the defence. "
        "Nobody should read the static number as robustness."
    )


def zones(case: Case) -> tuple[Zone, ...]:
    """Returns what became of the images, the proved ones first; the shares add up to all of them."""
    attacked = min(case.certified_interval.attacked, case.n)
    proved = min(case.certified_interval.certified or 0, attacked)
    misclassified = max(0, min(case.n - case.clean, case.n - attacked))
    whole = "not broken" if case.certified_interval.certified is None else "neither broken nor proved"
    counts = (
        (Fate.CERTIFIED, "proved: nothing inside the threat breaks them", proved),
        (Fate.SURVIVED, whole, attacked - proved),
        (Fate.BROKEN, "broken by an attack", case.n - attacked - misclassified),
        (Fate.MISCLASSIFIED, "misclassified before any attack", misclassified),
    )
    return tuple(Zone(kind, name, count, _percent(case, count)) for kind, name, count in counts if count)


def contradiction(case: Case) -> str:
    """Returns what is wrong where more images are proved than attacks leave; else ""."""
    certified, attacked = case.certified_interval.certified, case.certified_interval.attacked
    if certified is None or certified <= attacked:
        return ""
    return (
        f"{formatting.counted(certified, 'image')} are said to be proved and only {attacked:,} survive: "
        "one of the two is wrong, and neither figure can be used."
    )


def interval(case: Case) -> str:
    """Returns what the truth lies between, as in "[40.2, 71.3]" in percent; nothing proved is 0."""
    certified = case.certified_interval.certified or 0
    return f"[{_percent(case, certified):.1f}, {_percent(case, case.certified_interval.attacked):.1f}]"


def methods(case: Case) -> str:
    """Returns how many images each method proved, as in "crown-ibp 812, crown 14"; "" where none was tried."""
    return ", ".join(f"{name} {count:,}" for name, count in case.certified_interval.methods)


def _percent(case: Case, count: int) -> float:
    return 100 * formatting.fraction(count, case.n)
