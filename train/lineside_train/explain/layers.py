"""What the last layers of a network give: maps, embedding, logits, and where a label comes from.

Of a network that ends in global average pooling and one dense layer, a logit is

    z_c = b_c + mean over x, y of sum over k of w_kc A_k(x, y)

with the maps A_k of the last convolution: so each place adds its own share, and

    M_c(x, y) = sum over k of w_kc A_k(x, y)

is the class activation map of Zhou et al., Learning Deep Features for Discriminative Localization,
CVPR 2016. Selvaraju et al., Grad-CAM, ICCV 2017, show that theirs is the same for such networks, up
to a factor: the gradient of z_c by A_k is w_kc / (places). So no gradient is needed, and every
backend gives the same maps.

Softmax knows differences of logits only. A map is therefore that of z_c less the mean of the other
logits, by the weights w_c less the mean of the others' weights; like Grad-CAM's, its negative part
(what speaks against the label) is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lineside_train.backend import load_keras
from lineside_train.fitting.examples import Images, predict
from lineside_train.networks import without_head

Floats = npt.NDArray[np.floating]


class LastLayers:
    """The last layers of a network that ends in a dense layer named `logits`.

    Args:
        network: the Keras model.

    Attributes:
        has_maps: whether the embedding is the mean of maps: not so for `mlp`, whose hidden units
            see all pixels at once and have no place.
    """

    def __init__(self, network: Any) -> None:  # noqa: ANN401 - Keras ships no types
        keras = load_keras()
        head = network.get_layer("logits")
        self._embedding = without_head(network)
        self._kernel, self._bias = (np.asarray(one, np.float64) for one in head.get_weights())
        pooling = [
            layer
            for layer in network.layers
            if isinstance(layer, keras.layers.GlobalAveragePooling2D)
        ]
        self.has_maps = bool(pooling) and pooling[-1].output.shape[-1] == head.input.shape[-1]
        self._maps = keras.Model(network.inputs, pooling[-1].input) if self.has_maps else None

    def embed(self, tensors: Images) -> Floats:
        """What the dense layer sees.

        Args:
            tensors: uint8, n x height x width x channels.

        Returns:
            float64, n x features.
        """
        return predict(self._embedding, tensors).astype(np.float64)

    def logits(self, embedding: Floats) -> Floats:
        """What the dense layer says of it: float64, n x labels."""
        return np.asarray(embedding @ self._kernel + self._bias)

    def heat(self, tensors: Images, labels: npt.NDArray[np.integer]) -> Floats:
        """What in each image speaks for a label, see above.

        Args:
            tensors: uint8, n x height x width x channels.
            labels: n, the label of each image.

        Returns:
            float64, n x rows x columns of the last convolution, 0 and above; its unit is logits.
        """
        maps = predict(self._maps, tensors).astype(np.float64)
        count = self._kernel.shape[1]
        others = (self._kernel.sum(axis=1, keepdims=True) - self._kernel) / (count - 1)
        weights = (self._kernel - others)[:, labels]
        return np.asarray(np.maximum(np.einsum("nyxk,kn->nyx", maps, weights), 0.0))
