"""Versions: maps between the spaces of two models, so that new queries search old codes."""
