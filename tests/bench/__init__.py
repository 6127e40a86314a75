"""Benchmarks: figures and ratios, measured in one run on real programs. They assert nothing; `README.md` explains."""
