"""Work to measure lbnet with: unbalanced trees, the standard library's files, made-up durations.

These modules are users of lbnet like any other: they know its public API for tasks
(:mod:`lbnet.work`) and its errors, and nothing about how tasks run or travel.
"""
