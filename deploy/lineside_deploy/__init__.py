"""A bundle and the agent to a running station."""
