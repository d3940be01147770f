"""The evaluation as a user calls it: its records show themselves."""

from __future__ import annotations

from steelman.evaluation import evaluate as engine
from steelman.evaluation.former import takes_former
from steelman.result import presented

evaluate = takes_former(presented(engine.evaluate))
