"""An evaluation as Markdown, to be pasted into a model card."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from steelman.records import Case, Evaluation
from steelman.report import formatting, ladder
from steelman.report.case_sections import reruns
from steelman.report.headline import Opening, failures, openings
from steelman.report.table import Table, plain
from steelman.report.tabulation import tables


def to_markdown(evaluation: Evaluation) -> str:
    """Returns title, headlines with their verdicts, every table, the notes of the run and how to repeat it."""
    parts = [f"## {plain(evaluation.title)}\n"]
    opened = openings(evaluation)
    if opened:
        parts += [_headline(opening) for opening in opened]
        parts += [overview(opened).to_markdown(), *_failed(opened)]
    parts += [table.to_markdown() for table in tables(evaluation)]
    parts += ["\n".join(f"- {plain(note)}" for note in evaluation.notes) + "\n"] if evaluation.notes else []
    if opened:
        parts += _repeated(evaluation)
    return "\n".join(parts)


def _headline(opening: Opening) -> str:
    because = f": {plain(opening.reasons)}" if opening.reasons else ""
    fate = f"**{opening.fate}**" if opening.trusted else opening.fate
    verdict = f"{fate}. {opening.sign} *{opening.verdict}*{because}."
    return f"{verdict}\n{plain(opening.headline)}.\n{plain(opening.caveat)} {plain(opening.context)}\n"


def overview(opened: Sequence[Opening]) -> Table:
    """Returns a table with a line for each case: clean, static, adaptive and certified accuracy, and the verdict."""
    rows = tuple(
        (
            opening.title,
            *_figures(opening.case),
            str(len(failures(opening.case))),
            f"{opening.sign} {opening.case.verdict.word}",
        )
        for opening in opened
    )
    headers = ("Threat", "n", "Clean", "Static", "Adaptive", "Certified", "Checks failed", "Verdict")
    return Table("Robustness", "Accuracy in %, in brackets its 95 % interval.", headers, rows)


def _figures(case: Case) -> Iterator[str]:
    known = {rung.kind: rung for rung in ladder.rungs(case)}
    yield f"{case.n:,}"
    for kind in ("clean", "static", "adaptive", "certified"):
        rung = known.get(kind)
        yield formatting.MISSING if rung is None else f"{rung.percent:.1f} {rung.interval}".rstrip()


def _failed(opened: Sequence[Opening]) -> Iterator[str]:
    lines = [
        f"- {plain(opening.title)}, *{plain(check.name)}*: {plain(check.measured)}"
        for opening in opened
        for check in failures(opening.case)
    ]
    if lines:
        yield "\n".join(["### Checks that failed", "", *lines, ""])


def _repeated(evaluation: Evaluation) -> Iterator[str]:
    command, config = reruns(evaluation)
    if command or config:
        yield "### Run it again\n"
    if command:
        yield _fenced(command, "sh")
    if config:
        yield _fenced(config, "toml")


def _fenced(text: str, language: str) -> str:
    """Text as a block of code: its fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"
