"""What a reader takes away first: the figure of each case, and whether it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from steelman.records import Case, Check, CheckOutcome, Evaluation, Trust
from steelman.report import formatting

_SIGNS = {Trust.TRUSTED: "✓", Trust.INFLATED: "✗", Trust.CANNOT_TELL: "?"}
_TONES = {Trust.TRUSTED: "sound", Trust.INFLATED: "inflated", Trust.CANNOT_TELL: "unsure"}
_CAVEATS = {
    Trust.TRUSTED: "No check found a reason to distrust this figure. A better attack could still lower it.",
    Trust.INFLATED: "Do not quote this figure: the truth is lower.",
    Trust.CANNOT_TELL: "Do not quote this figure alone: nothing here shows that a better attack would not lower it.",
}


@dataclass(frozen=True)
class Opening:
    """The headline of one case and its verdict, in the words of a page.

    title: what tells this case from the others of a report.
    """

    case: Case
    title: str

    @property
    def sign(self) -> str:
        """The verdict as a sign, for those who do not see its colour."""
        return _SIGNS[self.case.verdict.word]

    @property
    def tone(self) -> str:
        """The verdict as the name of a style."""
        return _TONES[self.case.verdict.word]

    @property
    def trusted(self) -> bool:
        """Whether the figure can be trusted."""
        return self.case.verdict.word is Trust.TRUSTED

    @property
    def verdict(self) -> str:
        """The verdict's word, as it begins a sentence: "Figure trusted"."""
        return self.case.verdict.word.capitalize()

    @property
    def lost(self) -> bool:
        """Whether no more than chance is left: a figure that is trusted is then no good news."""
        chance = self.case.curve.chance if self.case.curve else 0.0
        return formatting.fraction(self.case.kept, self.case.n) <= chance

    @property
    def reasons(self) -> str:
        """Why, as it follows the verdict's word and a colon; "" where no reason is given."""
        return "; ".join(self.case.verdict.reasons)

    @property
    def caveat(self) -> str:
        """What a reader may do with the figure."""
        if self.trusted and not self.checked:
            return "No check was made on this figure: nothing here says whether it can be trusted."
        if self.trusted and self.lost:
            return "The figure can be trusted, the model cannot: no more than chance is left."
        if not self.case.kept:
            return "Nothing survives, so no better attack could lower this figure."
        if self.trusted and failures(self.case):
            unproved = self.case.kept - (self.case.certified_interval.certified or 0)
            share = formatting.percent(formatting.fraction(unproved, self.case.n))
            return f"Checks failed, yet no better attack could take more than {share} of the images from it."
        return _CAVEATS[self.case.verdict.word]

    @property
    def oblivious(self) -> str:
        """What is left by an attacker who does not know of the defence, in a sentence; "" where there is none."""
        if self.case.static is None:
            return ""
        share = formatting.percent(formatting.fraction(self.case.static, self.case.n))
        return f"Against an attacker who does not know of the defence it is {share}: that is no robustness."

    @property
    def figure(self) -> str:
        """The robust accuracy, as in "71.3 %"."""
        return formatting.percent(formatting.fraction(self.case.kept, self.case.n))

    @property
    def interval(self) -> str:
        """Its 95 % interval in percent, as in "[68.4, 74.1]"."""
        return f"[{100 * self.case.ci_low:.1f}, {100 * self.case.ci_high:.1f}]"

    @property
    def claim(self) -> str:
        """What the figure says, after the numbers of images and the name of the data set.

        A figure that is not trusted only seems to say it, unless it is 0, which nothing can lower.
        """
        case = self.case
        one = case.n == 1
        sure = self.trusted or not case.kept
        does = ("survives" if one else "survive") if sure else f"seem{'s' * one} to survive"
        target = "on the classifier" if case.defence == "none" else "through the whole pipeline"
        subject = "image" if one else "images"
        threat = formatting.ball(case.norm, case.eps)
        return f"{subject} {does} every attack {target}, {threat if case.norm == 'none' else f'at {threat}'}"

    @property
    def headline(self) -> str:
        """The figure as one sentence without its verdict, for text that has no styles."""
        name = " ".join(formatting.dataset(self.case.dataset).split())
        return f"{self.case.kept:,} of {self.case.n:,} {name} {self.claim}"

    @property
    def fate(self) -> str:
        """What became of the model, as in "71.3 % robust [68.4, 74.1]"."""
        return f"{self.figure} robust {self.interval}"

    @property
    def proved(self) -> str:
        """What a certificate says, in a sentence."""
        interval = self.case.certified_interval
        if interval.certified is None:
            why = interval.why.strip()
            return f"Nothing is proved. {why[0].upper()}{why[1:].rstrip('.')}." if why else "Nothing is proved."
        if not interval.certified:
            return "No image could be proved."
        share = formatting.percent(formatting.fraction(interval.certified, self.case.n))
        return f"Proved: no attack whatever brings this below {share}."

    @property
    def repeated(self) -> str:
        """What repeated answers of a random pipeline leave, in a sentence; "" where there is none."""
        if self.case.worst is None:
            return ""
        share = formatting.percent(formatting.fraction(self.case.worst, self.case.n))
        return f"The pipeline is random: of {share} each of several answers to their worst image is correct."

    @property
    def context(self) -> str:
        """What is proved, what repeated answers leave and what the oblivious attacker leaves, in sentences."""
        return " ".join(filter(None, (self.proved, self.repeated, self.oblivious)))

    @property
    def checked(self) -> str:
        """How the trust checks went, as in "2 of 9 checks failed"; "" where none applies."""
        applied = [check for check in self.case.checks if check.outcome is not CheckOutcome.NOT_APPLICABLE]
        failed = len(failures(self.case))
        if not applied:
            return ""
        return f"{failed} of {formatting.counted(len(applied), 'check')} failed" if failed else _passed(len(applied))


def openings(evaluation: Evaluation) -> tuple[Opening, ...]:
    """Returns the opening of every case, in their order."""
    return tuple(map(Opening, evaluation.cases, _titles(evaluation.cases)))


def tally(evaluation: Evaluation) -> str:
    """Returns how many figures there are and how many are trusted, in a sentence; "" without cases."""
    words = [opening.tone for opening in openings(evaluation)]
    message = {
        "sound": ("is trusted", "are trusted"),
        "inflated": ("is inflated", "are inflated"),
        "unsure": ("is in doubt", "are in doubt"),
    }
    parts = [f"{words.count(tone)} {said[words.count(tone) != 1]}" for tone, said in message.items() if tone in words]
    return f"{formatting.counted(len(words), 'figure')}: {formatting.listed(parts)}." if words else ""


def failures(case: Case) -> tuple[Check, ...]:
    """Returns the checks that a case failed."""
    return tuple(check for check in case.checks if check.outcome is CheckOutcome.FAIL)


def summary(evaluation: Evaluation) -> list[str]:
    """Returns figure, verdict, proofs and failed checks of every case as plain lines, for a terminal.

    An evaluation without cases has none.
    """
    lines: list[str] = []
    for opening in openings(evaluation):
        because = f": {opening.reasons}" if opening.reasons else ""
        lines += [f"{opening.fate}. {opening.sign} {opening.verdict}{because}.", f"  {opening.headline}."]
        lines.append(f"  {opening.caveat}")
        lines += [f"  {opening.repeated}"] if opening.repeated else []
        lines.append(f"  {opening.proved}")
        lines += [f"  ✗ check failed: {check.name}: {check.measured}" for check in failures(opening.case)]
    return [_printable(line) for line in lines]


def _titles(cases: Sequence[Case]) -> list[str]:
    """What differs between cases tells them apart: the threat always, the pipeline and the data where they do."""
    several = {name: len({getattr(case, name) for case in cases}) > 1 for name in ("dataset", "classifier", "defence")}
    titles = []
    for case in cases:
        parts = [
            formatting.dataset(case.dataset) if several["dataset"] else "",
            case.classifier if several["classifier"] else "",
            formatting.defence(case.defence) if several["defence"] else "",
            formatting.ball(case.norm, case.eps),
        ]
        titles.append(" · ".join(filter(None, parts)))
    return titles


def _passed(count: int) -> str:
    if count == 1:
        return "the one check that applies was passed"
    return f"{'both' if count == 2 else f'all {count}'} checks that apply were passed"


def _printable(line: str) -> str:
    """Names from outside may hold what a terminal would obey."""
    indent = line[: len(line) - len(line.lstrip(" "))]
    return indent + " ".join("".join(c if c.isprintable() else " " for c in line).split())
