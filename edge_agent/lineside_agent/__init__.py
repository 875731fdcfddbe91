"""A bundle and a camera to verdicts over MQTT."""
