"""Why a model says what it says: where it looks, and which training images taught it that.

    explainer = Explainer(network, …)
    explainer.explain([3, 17])     # test images: heat maps, and the training images behind them

For people only: nothing is chosen by it.
"""

from lineside_train.explain.explainer import Explainer, Photos

__all__ = ["Explainer", "Photos"]
