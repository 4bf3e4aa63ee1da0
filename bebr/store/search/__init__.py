"""Searches of a snapshot."""
