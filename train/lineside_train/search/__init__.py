"""`lineside train --search N`: which network, and how it is trained, found by trying.

space.py      what is varied                                                        Pure
proposal.py   what to try next, by Optuna, from what was tried                      Pure
choice.py     how good a trial is on val, the Pareto front, which one is chosen     Pure
latency.py    how long one inference takes; untrained.py, the child that converts
device.py     how much faster or slower another device is
journal.py    what was tried so far, on disk
session.py    all of it: from a task to a run
telling.py    what is said of it
"""
