"""Achilles beside what people use now, in one run: ``python -m benchmarks --help``."""
