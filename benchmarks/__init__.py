"""Measurements: kernels, flat search, data sets, the demonstration. README.md says how to run each."""
