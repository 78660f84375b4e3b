"""The functions behind the layers, PyTorch's names and arguments.

Those with kernels of their own come from :mod:`tilegrad.autograd.rules`; the others are composed
of them here.
"""

from tilegrad.autograd.arguments import checked as _checked
from tilegrad.autograd.kinds import exact as _exact
from tilegrad.autograd.rules.activation import (
    celu,
    celu_,
    elu,
    elu_,
    gelu,
    glu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    hardtanh_,
    leaky_relu,
    leaky_relu_,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    relu_,
    selu,
    selu_,
    silu,
    softplus,
    softshrink,
    softsign,
    tanhshrink,
    threshold,
    threshold_,
)
from tilegrad.autograd.rules.bilinear import bilinear
from tilegrad.autograd.rules.conv import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from tilegrad.autograd.rules.counting import one_hot
from tilegrad.autograd.rules.cross_entropy import cross_entropy, nll_loss
from tilegrad.autograd.rules.index import embedding
from tilegrad.autograd.rules.matmul import linear
from tilegrad.autograd.rules.movement import pad
from tilegrad.autograd.rules.norm import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
)
from tilegrad.autograd.rules.pointwise import sigmoid, tanh
from tilegrad.autograd.rules.pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from tilegrad.autograd.rules.sampling import dropout, dropout1d, dropout2d, dropout3d
from tilegrad.autograd.rules.softmax import log_softmax, softmax, softmin
from tilegrad.nn.functional.attention import scaled_dot_product_attention
from tilegrad.nn.functional.composed import (
    cosine_similarity,
    normalize,
    pairwise_distance,
)
from tilegrad.nn.functional.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    gaussian_nll_loss,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    margin_ranking_loss,
    mse_loss,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
    triplet_margin_loss,
)

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "batch_norm", "bilinear",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "celu", "celu_", "conv1d",
    "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "cosine_embedding_loss", "cosine_similarity", "cross_entropy", "dropout", "dropout1d",
    "dropout2d", "dropout3d", "elu", "elu_", "embedding", "gaussian_nll_loss", "gelu", "glu",
    "group_norm", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "hardtanh_",
    "hinge_embedding_loss", "huber_loss", "instance_norm", "kl_div", "l1_loss", "layer_norm",
    "leaky_relu", "leaky_relu_", "linear", "log_softmax", "logsigmoid", "margin_ranking_loss",
    "max_pool1d", "max_pool2d", "max_pool3d", "mish", "mse_loss", "nll_loss", "normalize",
    "one_hot", "pad", "pairwise_distance", "poisson_nll_loss", "prelu", "relu", "relu6", "relu_",
    "rms_norm", "scaled_dot_product_attention", "selu", "selu_", "sigmoid", "silu",
    "smooth_l1_loss", "soft_margin_loss", "softmax", "softmin", "softplus", "softshrink",
    "softsign", "tanh", "tanhshrink", "threshold", "threshold_", "triplet_margin_loss",
]  # fmt: skip

for _name in __all__:
    _function = globals()[_name]
    if _function.__module__ != "tilegrad":
        _function.__module__ = "tilegrad.nn.functional"  # where pickle and help() find it
_exact(list(globals().values()))
_checked(globals().values())
