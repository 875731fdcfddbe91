"""The package: one file with all that a device needs to become a station, without a network.

configuration.py   the station's configuration as the device reads it
wheels.py          lineside and what it needs, for the device's Python
bom.py             the bill of materials (CycloneDX)
contents.py        what a package says of itself
build.py           all of it together
"""
