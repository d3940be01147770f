"""One case as the part of a page that tells of it, and how a run is repeated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from steelman.records import Case, Check, CheckOutcome, Evaluation, GradientKind, Stage
from steelman.report import attackers, eps_curve
from steelman.report.classes import SHOWN, classes, ranked
from steelman.report.headline import Opening, openings
from steelman.report.ladder import Rung, Zone, rungs, zones
from steelman.report.table import Table

_ORDER = {CheckOutcome.FAIL: 0, CheckOutcome.PASS: 1}
_USABLE = 0.5


@dataclass(frozen=True)
class Block:
    """Everything a page shows of one case.

    key: what the ids of its parts start with.  curve: an SVG element, "" for none.
    worst, others: lines of the table of classes, those that are shown at once and those behind a fold.
    ranked: whether the first of them is less robust than the last.
    """

    key: str
    opening: Opening
    rungs: tuple[Rung, ...]
    zones: tuple[Zone, ...]
    checks: tuple[Check, ...]
    attempts: tuple[attackers.AttackLine, ...]
    cost: attackers.Cost
    curve: str
    curve_table: Table | None
    worst: Table | None
    others: Table | None
    ranked: bool

    @property
    def case(self) -> Case:
        """What it tells of."""
        return self.opening.case

    @property
    def sections(self) -> tuple[tuple[str, str], ...]:
        """Its parts that hold something: (id, name), in the order of the page."""
        return tuple((f"{self.key}-{name}", title) for name, title, there in self._parts() if there)

    def _parts(self) -> Iterator[tuple[str, str, object]]:
        yield "sides", "Static against adaptive" if self.case.static is not None else "Clean against attacked", True
        yield "checks", "Trust checks", True
        yield "interval", "Certified–attacked interval", True
        yield "curve", "Curve", self.curve
        yield "breakers", "What broke it", self.attempts
        yield "cost", "Cost", self.attempts or self.case.full
        yield "stages", "Stages", self.case.stages
        yield "classes", "Classes", self.worst


def blocks(evaluation: Evaluation) -> tuple[Block, ...]:
    """Returns a block for each case."""
    return tuple(_block(opening, f"case-{i}") for i, opening in enumerate(openings(evaluation), 1))


def sorted_checks(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Returns the checks, failures first and those that do not apply last."""
    return tuple(sorted(checks, key=lambda check: _ORDER.get(check.outcome, 2)))


def blocked(stage: Stage) -> bool:
    """Whether a stage hides its gradient from an attacker who does nothing about it."""
    return stage.gradient is not GradientKind.EXACT or stage.share < _USABLE


def reruns(evaluation: Evaluation) -> tuple[str, str]:
    """Returns the command and the text of the configuration that repeat a run; "" for what is not known."""
    command, config = evaluation.settings.get("command", ""), evaluation.settings.get("config", "")
    message = command if isinstance(command, str) else " ".join(map(str, command or ()))
    return message, config if isinstance(config, str) else ""


def _block(opening: Opening, key: str) -> Block:
    case = opening.case
    by_class = classes(case)
    worst, others = _folded(by_class)
    return Block(
        key=key,
        opening=opening,
        rungs=rungs(case),
        zones=zones(case),
        checks=sorted_checks(case.checks),
        attempts=attackers.attempts(case),
        cost=attackers.cost(case),
        curve=eps_curve.svg(case, f"{key}-drawing"),
        curve_table=eps_curve.table(case),
        worst=worst,
        others=others,
        ranked=by_class is not None and ranked(by_class),
    )


def _folded(table: Table | None) -> tuple[Table | None, Table | None]:
    if table is None or len(table.rows) <= SHOWN:
        return table, None
    kept = Table(table.title, table.caption, table.headers, table.rows[: SHOWN - 2])
    rest = table.rows[SHOWN - 2 :]
    return kept, Table(f"The other {len(rest)} classes", "", table.headers, rest)
