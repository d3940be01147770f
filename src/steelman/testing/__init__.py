"""What an attack, a defence or a detector must do to be one: kits for what others write, which ours pass too.

Each is a plain function that raises AssertionError with a sentence; it needs no test framework.
"""

from __future__ import annotations

from steelman.testing.attacks import check_attack
from steelman.testing.defences import check_defence
from steelman.testing.detectors import check_detector
from steelman.testing.subjects import Network, Scene, drawn, scene

__all__ = ["Network", "Scene", "check_attack", "check_defence", "check_detector", "drawn", "scene"]
