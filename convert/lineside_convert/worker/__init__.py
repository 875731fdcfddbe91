"""The child process in which models are loaded, converted and run.

Some conversions kill the process they run in, some model files kill whoever loads them, and
TensorFlow says a lot on the way. So a child does it, one request after the other (`protocol`);
the parent (`lineside_convert.workshop`) starts another one where it died, and goes on with what
the first left in the folder that both share:

    original.tflite         the model in float32, as every scheme but `unchanged` begins with it
    rounded.tflite          the same, its weights on the steps of int8
    calibration.npy         uint8, n x h x w x channels, from the parent
    val.npy, test.npy       the same
    NAME.tflite             what was made
    scores/…npy             float64, n x labels: logits
"""
