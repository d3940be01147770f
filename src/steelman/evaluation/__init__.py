"""Measuring a classifier, defended or not: records that everything else renders."""
