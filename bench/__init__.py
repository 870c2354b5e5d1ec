"""Benchmarks: `python -m bench TABLE...` prints one table each. Numbers quoted in commits come from here."""
