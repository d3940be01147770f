"""Steelman the adversary: measure, harden and serve image classifiers."""
