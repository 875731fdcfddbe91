"""The networks: compact CNNs of layers that stay exact when they are quantized.

Nothing but convolutions, batch normalization (folded into them by the converter), ReLU, sums,
pooling and one dense layer: no swish, no squeeze-excite, no Lambda.

    small.py              lineside's own, from scratch: plain, separable, mlp
    imagenet.py           those that others have trained on ImageNet: mobilenet_v1, mobilenet_v2, …
    efficientnet_lite.py  the one of them that Keras does not bring
    timm.py               the names that its weights are published under
    weights.py            trained weights, from a file or downloaded
    build.py              the whole network: from pixels to logits
"""

from lineside_train.networks.build import build_network, without_head

__all__ = ["build_network", "without_head"]
