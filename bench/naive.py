"""The loop that one would write first: read a camera, resize, invoke, publish at QoS 1.

    python bench/naive.py PORT VIDEO MODEL

A process that other benchmarks start and look at from outside. It keeps nothing on disk, and knows
nothing of lineside. The video is read again and again, at 25 frames a second, as a camera gives it.
"""

from __future__ import annotations

import json
import sys
import time

import cv2
import numpy as np
import paho.mqtt.client as paho
from ai_edge_litert.interpreter import Interpreter

RATE = 25.0
"""Frames a second."""


def main() -> None:
    """Run until it is ended from outside."""
    port, video, model = sys.argv[1:]
    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    source, output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    _, height, width, _ = source["shape"]
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(20)
    client.connect("127.0.0.1", int(port))
    client.loop_start()
    count = 0
    while True:
        capture = cv2.VideoCapture(video)
        while True:
            there, frame = capture.read()
            if not there:
                break
            picture = cv2.cvtColor(cv2.resize(frame, (width, height)), cv2.COLOR_BGR2RGB)
            interpreter.set_tensor(source["index"], picture[np.newaxis])
            interpreter.invoke()
            scores = interpreter.get_tensor(output["index"])[0].tolist()
            count += 1
            message = {"n": count, "scores": scores, "time": time.time()}
            client.publish("naive/result", json.dumps(message), qos=1)
            time.sleep(1 / RATE)


if __name__ == "__main__":
    main()
