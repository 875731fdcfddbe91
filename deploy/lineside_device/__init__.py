"""What runs on a device before anything is installed there: Python's standard library alone.

It comes in a package's `device/`, is started by `install.sh`, and stays in each release:
`python3 -IB /opt/lineside/current/device status`.

    main.py       the commands
    package.py    a package, checked file by file
    facts.py      what a machine is; stands alone
    host.py       is this a device that the package is for?
    leftovers.py  what was cut, and its removal; stands alone
    places.py     where things lie
    home.py       releases, and the link to the one that runs
    install.py    from a package to a release
    system.py     the account, the unit, systemd
    trial.py      a new release must prove itself, or the one before comes back
    backup.py     all that a station is, besides its release
    clock.py      not before the release was made
    files.py      what a power cut leaves whole
"""
