"""Many stations: which there should be, and how each of them is.

inventory.py   the file that lists them
sighting.py    what is heard of each, and what is wrong with it
command.py     `lineside deploy status`
"""
