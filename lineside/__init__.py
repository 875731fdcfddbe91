"""Visual inspection at the edge: the core that train, convert, the agent and deploy share.

It imports none of those tools, and nothing heavy (cv2, an engine, plots) before it is used.
"""

from importlib.metadata import version

__version__ = version("lineside")
