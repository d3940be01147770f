"""What a reader takes away first: the figure of each case, and whether it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from steelman.records import Case, Check, Evaluation
from steelman.report import formatting

_SIGNS = {"holds up": "✓", "inflated": "✗"}
_CAVEATS = {
    "holds up": "No check found a reason to distrust this figure. A better attack could still lower it.",
    "inflated": "Do not quote this figure: the truth is lower.",
    "cannot tell": "Do not quote this figure alone: nothing here shows that a better attack would not lower it.",
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
        return _SIGNS.get(self.case.verdict.word, "?")

    @property
    def tone(self) -> str:
        """The verdict as the name of a style."""
        return {"✓": "sound", "✗": "inflated"}.get(self.sign, "unsure")

    @property
    def lost(self) -> bool:
        """Whether no more than chance is left: a figure that holds up is then no good news."""
        chance = self.case.curve.chance if self.case.curve else 0.0
        return formatting.fraction(self.case.kept, self.case.n) <= chance

    @property
    def reasons(self) -> str:
        """Why, as it follows the verdict's word and a colon; "" where no reason is given."""
        return "; ".join(self.case.verdict.reasons)

    @property
    def caveat(self) -> str:
        """What a reader may do with the figure."""
        if self.tone == "sound" and not self.checked:
            return "No check was made on this figure: nothing here says whether it can be trusted."
        if self.tone == "sound" and self.lost:
            return "The figure can be trusted, the model cannot: no more than chance is left."
        if not self.case.kept:
            return "Nothing survives, so no better attack could lower this figure."
        if self.tone == "sound" and failures(self.case):
            unproved = self.case.kept - (self.case.bracket.certified or 0)
            share = formatting.percent(formatting.fraction(unproved, self.case.n))
            return f"Checks failed, yet no better attack could take more than {share} of the images from it."
        return _CAVEATS.get(self.case.verdict.word, _CAVEATS["cannot tell"])

    @property
    def unaware(self) -> str:
        """What is left by someone who does not know of the defence, in a sentence; "" where there is none."""
        if self.case.static is None:
            return ""
        share = formatting.percent(formatting.fraction(self.case.static, self.case.n))
        return f"Someone who does not know of the defence leaves {share}: that is no robustness."

    @property
    def figure(self) -> str:
        """The share that survives, as in "71.3 %"."""
        return formatting.percent(formatting.fraction(self.case.kept, self.case.n))

    @property
    def interval(self) -> str:
        """Its 95 % interval in percent, as in "[68.4, 74.1]"."""
        return f"[{100 * self.case.ci_low:.1f}, {100 * self.case.ci_high:.1f}]"

    @property
    def claim(self) -> str:
        """What the figure says, after the number of images and the name of the data set.

        A figure that does not hold up only seems to say it, unless it is 0, which nothing can lower.
        """
        case = self.case
        one = case.n == 1
        sure = self.tone == "sound" or not case.kept
        does = ("survives" if one else "survive") if sure else f"seem{'s' * one} to survive"
        whole = "the classifier" if case.defence == "none" else "the whole pipeline"
        subject = "image" if one else "images"
        if case.norm == "none":
            return f"{subject} {does} every attack, of a kind that no ball describes, of someone who knows {whole}"
        return f"{subject} {does} every attack of someone who knows {whole}, at {formatting.ball(case.norm, case.eps)}"

    @property
    def headline(self) -> str:
        """The figure as one sentence without its verdict, for text that has no styles."""
        name = " ".join(formatting.dataset(self.case.dataset).split())
        return f"{self.figure} of {self.case.n:,} {name} {self.claim} {self.interval}"

    @property
    def proved(self) -> str:
        """What a certificate says, in a sentence."""
        bracket = self.case.bracket
        if bracket.certified is None:
            why = bracket.why.strip()
            return f"Nothing is proved. {why[0].upper()}{why[1:].rstrip('.')}." if why else "Nothing is proved."
        if not bracket.certified:
            return "No image could be proved."
        share = formatting.percent(formatting.fraction(bracket.certified, self.case.n))
        return f"Proved: no attack whatever brings this below {share}."

    @property
    def repeated(self) -> str:
        """What repeated looks of a random pipeline leave, in a sentence; "" where there is none."""
        if self.case.worst is None:
            return ""
        share = formatting.percent(formatting.fraction(self.case.worst, self.case.n))
        return f"The pipeline answers at random: {share} are read right in each of several looks at their worst image."

    @property
    def context(self) -> str:
        """What is proved, what repeated looks leave and what the attacker who knows nothing leaves, in sentences."""
        return " ".join(filter(None, (self.proved, self.repeated, self.unaware)))

    @property
    def checked(self) -> str:
        """How the trust checks went, as in "2 of 9 checks failed"; "" where none applies."""
        applied = [check for check in self.case.checks if check.outcome != "not applicable"]
        failed = len(failures(self.case))
        if not applied:
            return ""
        return f"{failed} of {formatting.counted(len(applied), 'check')} failed" if failed else _passed(len(applied))


def openings(evaluation: Evaluation) -> tuple[Opening, ...]:
    """Returns the opening of every case, in their order."""
    return tuple(map(Opening, evaluation.cases, _titles(evaluation.cases)))


def tally(evaluation: Evaluation) -> str:
    """Returns how many figures there are and how many hold up, in a sentence; "" without cases."""
    words = [opening.tone for opening in openings(evaluation)]
    told = {
        "sound": ("holds up", "hold up"),
        "inflated": ("is inflated", "are inflated"),
        "unsure": ("is in doubt", "are in doubt"),
    }
    parts = [f"{words.count(tone)} {said[words.count(tone) != 1]}" for tone, said in told.items() if tone in words]
    return f"{formatting.counted(len(words), 'figure')}: {formatting.listed(parts)}." if words else ""


def failures(case: Case) -> tuple[Check, ...]:
    """Returns the checks that a case failed."""
    return tuple(check for check in case.checks if check.outcome == "fail")


def summary(evaluation: Evaluation) -> list[str]:
    """Returns headline, verdict, bracket and failed checks of every case as plain lines, for a terminal.

    An evaluation without cases has none.
    """
    lines: list[str] = []
    for opening in openings(evaluation):
        lines += [opening.headline, f"  {opening.sign} {opening.case.verdict.sentence}. {opening.caveat}"]
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
