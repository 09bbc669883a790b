"""Runs the mini-batches of a parallel step; started as a script in the step's own Python.

Neither these files nor the emulator are on that Python's path: they use the standard library only,
and pandas where the input is a table. They read as Python 3.8 does.
"""
