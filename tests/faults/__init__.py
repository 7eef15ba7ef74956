"""The blocks of ``python -m tests.faults``: each injects one kind of fault many times.

A block is a module with ``torture(share, folder) -> Outcome``: it does ``share`` of its full
number of trials in an empty scratch ``folder`` and reports how many ended as promised.
"""
