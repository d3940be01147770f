"""A run as one typed value, and every way to say it: the command line, --set and TOML files are read off its fields."""

from steelman.spec.parts import AttackSpec, DataSpec, PipelineSpec, RunOptions, SpecError
from steelman.spec.run import RunSpec

__all__ = ["AttackSpec", "DataSpec", "PipelineSpec", "RunOptions", "RunSpec", "SpecError"]
