"""`python -m lineside_agent.capture`: the child that reads one camera. The agent starts it."""

from __future__ import annotations

from lineside_agent.capture.child import main

if __name__ == "__main__":
    main()
