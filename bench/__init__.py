"""Benchmarks: each experiment is named by the question it answers and runs as ``python -m bench.experiments.NAME``."""
