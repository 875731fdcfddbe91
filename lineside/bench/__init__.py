"""`lineside bench`: which runtime and thread count is the fastest on this device.

`lineside bench --json` writes a `Bench`; `read_bench` reads it, and so does
`lineside convert --device-bench`.
"""

from lineside.bench.record import Bench, Row, read_bench

__all__ = ["Bench", "Row", "read_bench"]
