"""Steelman the adversary: measure, harden and serve image classifiers.

>>> import steelman as sm
>>> sm.Linf(0.3).eps
0.3
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from steelman.version import VERSION as _VERSION

if TYPE_CHECKING:
    from steelman import attacks, bounds, data, defences, losses, models, report, spec, training
    from steelman.api import evaluate
    from steelman.errors import InputError
    from steelman.evaluation.options import Defended, EvaluationOptions
    from steelman.norms import L0, L1, L2, Linf
    from steelman.pipeline import Pipeline
    from steelman.result import EvaluationResult, read
    from steelman.threat import Threat


__version__ = _VERSION

__all__ = [
    "L0",
    "L1",
    "L2",
    "Defended",
    "EvaluationOptions",
    "EvaluationResult",
    "InputError",
    "Linf",
    "Pipeline",
    "Threat",
    "attacks",
    "bounds",
    "data",
    "defences",
    "evaluate",
    "losses",
    "models",
    "read",
    "report",
    "spec",
    "training",
]

_PLACES = {
    "Defended": "steelman.evaluation.options",
    "EvaluationOptions": "steelman.evaluation.options",
    "EvaluationResult": "steelman.result",
    "InputError": "steelman.errors",
    "L0": "steelman.norms",
    "L1": "steelman.norms",
    "L2": "steelman.norms",
    "Linf": "steelman.norms",
    "Pipeline": "steelman.pipeline",
    "Threat": "steelman.threat",
    "evaluate": "steelman.api",
    "read": "steelman.result",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first asked for, so that reports can be drawn without torch."""
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    if name in __all__:
        return importlib.import_module(f"steelman.{name}")
    raise AttributeError(f"module 'steelman' has no attribute {name!r}")
