"""A package, so that `python -m tests.faults` finds this one before any other of that name."""
