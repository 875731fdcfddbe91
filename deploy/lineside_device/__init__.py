"""What runs on a device before anything is installed there: Python's standard library alone.

It comes in a package's `device/`, is started by `install.sh`, and stays in each release as the
command `lineside-station`.

    main.py       the commands
    package.py    a package, checked file by file
    facts.py      what a machine is; stands alone
    host.py       is this a device that the package is for?
    places.py     where things lie
    home.py       releases, and the link to the one that runs
    install.py    from a package to a release
    system.py     the account, the unit, systemd
    trial.py      a new release must prove itself, or the one before comes back
"""
