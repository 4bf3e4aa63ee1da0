"""Benchmarks of the producers: what each was trained for, on small real data, against what it improves upon."""
