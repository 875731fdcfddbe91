"""`lineside demo`: everything, on real images, on this machine."""

from lineside.demo.command import demo

__all__ = ["demo"]
