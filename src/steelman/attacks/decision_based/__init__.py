"""Attacks that see decisions alone."""
