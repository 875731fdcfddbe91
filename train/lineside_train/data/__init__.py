"""What is wrong with the photos, before and without a training: `lineside data check`.

    folder ──read_dataset──▶ photos ──looks──▶ arrays ──▶ findings ──▶ lines, JSON, page, moves

looks.py         what each photo looks like, in one pass
twins.py         near duplicates
classifier.py    cross-validated classifiers
suspects.py      labels that may be wrong
shortcuts.py     what gives a label away without the part
amounts.py       how many, how large
findings.py      what was found: plain data
quick.py         the part that every training begins with
check.py         all of it
setting_aside.py moving files out of the way, and back
page.py          the page with the pictures
command.py       the command
"""

from __future__ import annotations

from lineside_train.data.quick import quick

__all__ = ["quick"]
