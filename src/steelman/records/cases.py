"""What became of one pipeline under one threat, and whether the figure can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

from steelman.records.kinds import CheckOutcome, Fate, GradientKind, Protocol, Trust


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What became of one image under one threat.

    index: its place in the data set.  label: its class by name.
    clean: classified correctly unattacked.  static: the same after every attack made on the bare classifier; None where
    there is no defence.  kept: survives everything that was tried.
    certified: no change inside the threat can break it; None where nobody tried to prove it.
    by: the attack that broke it, "" where none did or none had to.
    margin: of its worst image, in logits, positive where broken.
    distance: the smallest change that is known to break it, whatever found it, None where none is known.
    forwards, backwards: passes of the pipeline spent on it.  seed: of its random streams.
    """

    index: int
    label: str
    clean: bool
    static: bool | None
    kept: bool
    certified: bool | None
    by: str
    margin: float
    distance: float | None
    forwards: int
    backwards: int
    seed: int

    @property
    def fate(self) -> Fate:
        """What became of it."""
        if not self.clean:
            return Fate.MISCLASSIFIED
        if not self.kept:
            return Fate.BROKEN
        return Fate.CERTIFIED if self.certified else Fate.SURVIVED


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """What one attack was made on, what it broke and what it cost.

    attack: its name.  through: how it went through the pipeline, as in "the whole pipeline", or "BPDA: 0 (Quantise) as
    the identity".
    protocol: static where it was made on the bare classifier, else adaptive.
    tried: images that it was made on.  broke: of those.  forwards, backwards: passes of the pipeline on all of them.
    seconds: how long it took.  parts: of a cascade, (name, images that it broke), in the order of most.
    """

    attack: str
    through: str
    protocol: Protocol
    tried: int
    broke: int
    forwards: int
    backwards: int
    seconds: float
    parts: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Accuracy against eps under everything that was found, never rising.

    points: (eps, accuracy, ci_low, ci_high), the first at eps 0.  chance: the largest class's share of these images.
    median: the smallest change that breaks half of the images that are classified correctly; None where less broke.
    """

    points: tuple[tuple[float, float, float, float], ...]
    chance: float
    median: float | None


@dataclass(frozen=True, kw_only=True)
class Check:
    """One reason to trust a figure or not.

    name: a short name, as in "black box".  claim: what holds of an honest figure, in a sentence.
    measured: what was found, with its numbers, in a sentence.  on_fail: what a failure makes of the verdict.
    """

    name: str
    claim: str
    outcome: CheckOutcome
    measured: str
    on_fail: Trust = Trust.INFLATED


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a figure can be trusted.

    reasons: a clause for each, as they follow a colon.
    """

    word: Trust
    reasons: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The word, and the reasons behind a colon."""
        return f"{self.word}: {'; '.join(self.reasons)}" if self.reasons else self.word


@dataclass(frozen=True, kw_only=True)
class CertifiedInterval:
    """What the truth lies between: at least `certified` of n images survive any attack, at most `attacked`.

    methods: (name, images that it proved) in the order they were tried, as in ("crown-ibp", 812).
    why: where nothing could be proved, the reason in a sentence; else "".
    """

    certified: int | None
    attacked: int
    methods: tuple[tuple[str, int], ...] = ()
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a pipeline, and how the attacker who knows it went through.

    name: its place and type, as in "0 (JPEG)".  gradient: on most images.
    share: images on which it has a usable gradient, in [0, 1].  random: whether it answers differently when it is
    asked twice.  gradient_path: what the attacker did about it, in words.
    """

    name: str
    gradient: GradientKind
    share: float
    random: bool
    gradient_path: str


@dataclass(frozen=True, kw_only=True)
class Case:
    """All that was found of one pipeline under one threat.

    dataset, classifier, defence: as in a row; defence "none" for a bare classifier.
    norm, eps: the threat; norm "none" and eps 0 for attacks that no ball describes.
    n: images.  clean, static, kept: of those, classified correctly unattacked, after attacks made on the bare
    classifier (None where there is no defence), and after everything.
    ci_low, ci_high: of kept / n, 95 %, Clopper-Pearson.
    worst: of a random pipeline, images that were classified correctly in each of several looks at their worst image;
    else None.
    spent: backward passes of all attacks of this case.  full: what every attack on every image would have taken.
    """

    dataset: str
    classifier: str
    defence: str
    norm: str
    eps: float
    n: int
    clean: int
    static: int | None
    kept: int
    ci_low: float
    ci_high: float
    worst: int | None = None
    spent: int
    full: int
    verdict: Verdict
    certified_interval: CertifiedInterval
    curve: Curve | None
    checks: tuple[Check, ...]
    breakers: tuple[Breaker, ...]
    stages: tuple[Stage, ...]
    samples: tuple[Sample, ...]
