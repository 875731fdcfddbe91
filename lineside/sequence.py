"""Sets of sequence numbers, kept as ranges: a gapless stream of millions is one pair of numbers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

Range = tuple[int, int]
"""First and last, both included."""


class SequenceSet:
    """Which sequence numbers were seen.

    >>> seen = SequenceSet()
    >>> [seen.add(n) for n in (1, 2, 5, 2)]
    [True, True, True, False]
    >>> list(seen.missing(1, 6))
    [(3, 4), (6, 6)]
    """

    def __init__(self) -> None:
        self._first: list[int] = []
        self._last: list[int] = []

    def __len__(self) -> int:
        """How many numbers were seen."""
        return sum(last - first + 1 for first, last in self.ranges())

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._first, number) - 1
        return at >= 0 and number <= self._last[at]

    def ranges(self) -> Iterator[Range]:
        """What was seen, ascending; no two ranges touch."""
        return zip(self._first, self._last, strict=True)

    def add(self, number: int) -> bool:
        """Note a number.

        Returns:
            Whether it is new.
        """
        at = bisect_right(self._first, number) - 1
        if at >= 0 and number <= self._last[at]:
            return False
        joins_left = at >= 0 and self._last[at] == number - 1
        joins_right = at + 1 < len(self._first) and self._first[at + 1] == number + 1
        if joins_left and joins_right:
            self._last[at] = self._last.pop(at + 1)
            del self._first[at + 1]
        elif joins_left:
            self._last[at] = number
        elif joins_right:
            self._first[at + 1] = number
        else:
            self._first.insert(at + 1, number)
            self._last.insert(at + 1, number)
        return True

    def add_range(self, first: int, last: int) -> int:
        """Note all numbers between `first` and `last`, both included.

        Returns:
            How many of them are new.
        """
        if first > last:
            return 0
        begin = bisect_left(self._last, first - 1)  # the ranges that touch or overlap
        end = bisect_right(self._first, last + 1)
        had = sum(self._last[n] - self._first[n] + 1 for n in range(begin, end))
        if begin < end:
            first, last = min(first, self._first[begin]), max(last, self._last[end - 1])
        self._first[begin:end], self._last[begin:end] = [first], [last]
        return last - first + 1 - had

    def discard(self, number: int) -> bool:
        """Forget a number.

        Returns:
            Whether it was there.
        """
        if number not in self:
            return False
        at = bisect_right(self._first, number) - 1
        first, last = self._first[at], self._last[at]
        rest = [(a, b) for a, b in ((first, number - 1), (number + 1, last)) if a <= b]
        self._first[at : at + 1] = [a for a, _ in rest]
        self._last[at : at + 1] = [b for _, b in rest]
        return True

    def missing(self, first: int, last: int) -> Iterator[Range]:
        """The ranges between `first` and `last`, both included, that were not seen."""
        for at in range(bisect_left(self._last, first), len(self._first)):
            if self._first[at] > last:
                break
            if self._first[at] > first:
                yield first, self._first[at] - 1
            first = self._last[at] + 1
        if first <= last:
            yield first, last
