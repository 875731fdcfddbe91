"""Photos to a run: training with Keras."""
