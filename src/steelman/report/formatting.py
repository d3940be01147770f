"""How names and numbers read: the one place that turns records' values into words."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from steelman.records import Protocol, Row

MISSING = "–"
PUBLISHED_ONLY = "published, not measured here"
PROTOCOLS = tuple(Protocol)
_DATASETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "cifar-10": "CIFAR-10"}
_ATTACKS = {"none": "no attack", "autoattack": "AutoAttack", "deepfool": "DeepFool"}
_SHOUTED = {"fgsm", "pgd", "bim", "apgd", "cw", "jsma", "mifgsm"}


def dataset(name: str) -> str:
    """Returns a data set's name as its authors write it."""
    return _DATASETS.get(name, name)


def attack(name: str) -> str:
    """Returns an attack's name as the field writes it."""
    return name.upper() if name in _SHOUTED else _ATTACKS.get(name, name)


def defence(name: str) -> str:
    """Returns a defence's name, or "no defence"."""
    return "no defence" if name == "none" else name


def strength(row: Row) -> str:
    """Returns the attack with its eps, as in "PGD at ε 0.15"."""
    if is_clean(row):
        return "no attack"
    if row.norm == "none":
        return attacked(row)
    return f"{attacked(row)} at ε {f'{row.eps:g}' if row.norm == 'L0' else eps(row.eps)}"


def figure(row: Row) -> str:
    """Returns which figure of a defence a row is, as the head of a column."""
    if is_clean(row):
        return "clean"
    said = {Protocol.ADAPTIVE: "adaptive worst", Protocol.STATIC: f"static, {strength(row)}"}
    return said.get(row.protocol, row.protocol)


def attacked(row: Row) -> str:
    """Returns the name of a row's attack, with its norm where that is not Linf, as in "PGD (L2)"."""
    plain = row.norm in ("Linf", "none") or row.attack == "none"
    return attack(row.attack) if plain else f"{attack(row.attack)} ({row.norm})"


def is_clean(row: Row) -> bool:
    """Whether the images of a row are as they came."""
    return row.attack == "none" or (row.eps == 0 and row.norm != "none")


def eps(value: float) -> str:
    """Returns ε with two decimals, or with as many figures as it needs.

    >>> eps(0.1), eps(8 / 255)
    ('0.10', '0.03137')
    """
    return f"{value:.2f}" if math.isclose(round(value, 2), value, abs_tol=1e-9) else f"{value:.4g}"


def ball(norm: str, value: float) -> str:
    """Returns a threat, as in "Linf ε 0.30"; ε in 255ths where it is so many of them.

    >>> ball("Linf", 0.3), ball("Linf", 8 / 255), ball("L0", 10), ball("none", 0)
    ('Linf ε 0.30', 'Linf ε 8/255', 'L0 ε 10', 'outside any ball')
    """
    if norm == "none":
        return "outside any ball"
    steps = round(255 * value)
    if value >= 1 and value == round(value):
        return f"{norm} ε {value:g}"
    if not math.isclose(round(value, 2), value, abs_tol=1e-9) and math.isclose(steps, 255 * value, abs_tol=1e-6):
        return f"{norm} ε {steps}/255"
    return f"{norm} ε {eps(value)}"


def fraction(count: int, of: int) -> float:
    """Returns a count as a share; nothing of nothing is 0."""
    return count / of if of else 0.0


def share(value: float) -> str:
    """Returns a share in percent, without the sign, for a column that says so.

    >>> share(0.9901)
    '99.01'
    """
    return f"{100 * value:.2f}"


def percent(value: float) -> str:
    """Returns a share in percent, as it stands in a sentence.

    >>> percent(0.983)
    '98.3\\xa0%'
    """
    return f"{100 * value:.1f}\u00a0%"


def interval(row: Row) -> str:
    """Returns the row's 95 % interval in percent, as in "[97.3, 99.0]"; empty where it has none."""
    if row.ci_low is None or row.ci_high is None:
        return ""
    return f"[{100 * row.ci_low:.1f}, {100 * row.ci_high:.1f}]"


def latency(milliseconds: float) -> str:
    """Returns a time for one image, in the unit that reads best.

    >>> latency(1.4), latency(14800)
    ('1.40 ms', '14.80 s')
    """
    return f"{milliseconds / 1000:.2f} s" if milliseconds >= 1000 else f"{milliseconds:.2f} ms"


def threads(count: int) -> str:
    """Returns a number of threads, in words."""
    return f"{count} thread{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Returns how long something took.

    >>> duration(3.2), duration(192), duration(7500)
    ('3.2 s', '3 min 12 s', '2 h 5 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def listed(parts: Iterable[str]) -> str:
    """Returns the parts as an English list.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    known = list(parts)
    return known[0] if len(known) == 1 else ", ".join(known[:-1]) + " and " + known[-1] if known else ""


def counted(count: int, one: str, many: str = "") -> str:
    """Returns a number with its noun, as in "1,000 images"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def settings(content: Mapping[str, Any], within: str = "") -> tuple[tuple[str, str], ...]:
    """Returns nested settings as (dotted name, value) pairs, in their order."""
    pairs: list[tuple[str, str]] = []
    for name, value in content.items():
        path = f"{within}{name}"
        if isinstance(value, Mapping) and value:
            pairs += settings(value, f"{path}.")
        elif isinstance(value, (list, tuple)) and all(isinstance(part, (str, int, float)) for part in value):
            pairs.append((path, ", ".join(map(str, value)) or MISSING))
        else:
            pairs.append(
                (path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
            )
    return tuple(pairs)
