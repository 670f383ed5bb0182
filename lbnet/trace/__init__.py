"""Recorded runs: the file that a controller writes of the tasks that it saw run, and the simulator replays.

One JSON object a line: a header with the version of the format, the records of :mod:`.records`, and a footer with
their number and the CRC-32 of all lines before it. A file that is cut off or damaged is therefore recognised.
It must not know who makes records, nor what becomes of them.
"""
