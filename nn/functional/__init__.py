"""The functions behind the layers, PyTorch's names and arguments.

Those with kernels of their own come from :mod:`tilegrad.autograd.rules`; the others are composed
of them here.
"""

import typing as _typing
from types import FunctionType as _FunctionType

from tilegrad.autograd.arguments import checked as _checked
from tilegrad.autograd.extra import FUNCTIONAL as _FUNCTIONAL, extras as _extras
from tilegrad.autograd.kinds import exact as _exact
from tilegrad.autograd.names import renamed as _renamed
from tilegrad.autograd.rules.activation import (
    celu as celu,
    celu_ as celu_,
    gelu as gelu,
    glu as glu,
    hardtanh as hardtanh,
    hardtanh_ as hardtanh_,
    prelu as prelu,
    relu as relu,
    relu6 as relu6,
    relu_ as relu_,
    softshrink as softshrink,
)
from tilegrad.autograd.rules.bilinear import bilinear as bilinear
from tilegrad.autograd.rules.conv import (
    conv1d as conv1d,
    conv2d as conv2d,
    conv3d as conv3d,
    conv_transpose1d as conv_transpose1d,
    conv_transpose2d as conv_transpose2d,
    conv_transpose3d as conv_transpose3d,
)
from tilegrad.autograd.rules.counting import one_hot as one_hot
from tilegrad.autograd.rules.cross_entropy import (
    cross_entropy as cross_entropy,
    nll_loss as nll_loss,
)
from tilegrad.autograd.rules.embedding import embedding as embedding
from tilegrad.autograd.rules.matmul import linear as linear
from tilegrad.autograd.rules.movement import pad as pad
from tilegrad.autograd.rules.norm import (
    batch_norm as batch_norm,
    group_norm as group_norm,
    instance_norm as instance_norm,
    layer_norm as layer_norm,
    rms_norm as rms_norm,
)
from tilegrad.autograd.rules.pool import (
    adaptive_avg_pool1d as adaptive_avg_pool1d,
    adaptive_avg_pool2d as adaptive_avg_pool2d,
    adaptive_avg_pool3d as adaptive_avg_pool3d,
    adaptive_max_pool1d as adaptive_max_pool1d,
    adaptive_max_pool2d as adaptive_max_pool2d,
    adaptive_max_pool3d as adaptive_max_pool3d,
    avg_pool1d as avg_pool1d,
    avg_pool2d as avg_pool2d,
    avg_pool3d as avg_pool3d,
    max_pool1d as max_pool1d,
    max_pool2d as max_pool2d,
    max_pool3d as max_pool3d,
)
from tilegrad.autograd.rules.sampling import (
    dropout as dropout,
    dropout1d as dropout1d,
    dropout2d as dropout2d,
    dropout3d as dropout3d,
)
from tilegrad.autograd.rules.softmax import (
    log_softmax as log_softmax,
    softmax as softmax,
    softmin as softmin,
)
from tilegrad.nn.functional.attention import (
    multi_head_attention_forward as multi_head_attention_forward,
    scaled_dot_product_attention as scaled_dot_product_attention,
)
from tilegrad.nn.functional.bags import (
    embedding_bag as embedding_bag,
    pdist as pdist,
)
from tilegrad.nn.functional.composed import (
    cosine_similarity as cosine_similarity,
    normalize as normalize,
    pairwise_distance as pairwise_distance,
)
from tilegrad.nn.functional.losses import (
    binary_cross_entropy as binary_cross_entropy,
    binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
    cosine_embedding_loss as cosine_embedding_loss,
    gaussian_nll_loss as gaussian_nll_loss,
    hinge_embedding_loss as hinge_embedding_loss,
    huber_loss as huber_loss,
    kl_div as kl_div,
    l1_loss as l1_loss,
    margin_ranking_loss as margin_ranking_loss,
    mse_loss as mse_loss,
    poisson_nll_loss as poisson_nll_loss,
    smooth_l1_loss as smooth_l1_loss,
    soft_margin_loss as soft_margin_loss,
    triplet_margin_loss as triplet_margin_loss,
)
from tilegrad.nn.functional.noise import (
    alpha_dropout as alpha_dropout,
    feature_alpha_dropout as feature_alpha_dropout,
    gumbel_softmax as gumbel_softmax,
    rrelu as rrelu,
    rrelu_ as rrelu_,
)
from tilegrad.nn.functional.pointwise import *
from tilegrad.nn.functional.pooling import (
    adaptive_max_pool1d_with_indices as adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d_with_indices as adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d_with_indices as adaptive_max_pool3d_with_indices,
    fractional_max_pool2d as fractional_max_pool2d,
    fractional_max_pool2d_with_indices as fractional_max_pool2d_with_indices,
    fractional_max_pool3d as fractional_max_pool3d,
    fractional_max_pool3d_with_indices as fractional_max_pool3d_with_indices,
    local_response_norm as local_response_norm,
    lp_pool1d as lp_pool1d,
    lp_pool2d as lp_pool2d,
    lp_pool3d as lp_pool3d,
    max_pool1d_with_indices as max_pool1d_with_indices,
    max_pool2d_with_indices as max_pool2d_with_indices,
    max_pool3d_with_indices as max_pool3d_with_indices,
    max_unpool1d as max_unpool1d,
    max_unpool2d as max_unpool2d,
    max_unpool3d as max_unpool3d,
)
from tilegrad.nn.functional.ranking import (
    ctc_loss as ctc_loss,
    linear_cross_entropy as linear_cross_entropy,
    multi_margin_loss as multi_margin_loss,
    multilabel_margin_loss as multilabel_margin_loss,
    multilabel_soft_margin_loss as multilabel_soft_margin_loss,
    triplet_margin_with_distance_loss as triplet_margin_with_distance_loss,
)
from tilegrad.nn.functional.resampling import (
    affine_grid as affine_grid,
    grid_sample as grid_sample,
    interpolate as interpolate,
    upsample as upsample,
    upsample_bilinear as upsample_bilinear,
    upsample_nearest as upsample_nearest,
)
from tilegrad.nn.functional.shuffling import (
    channel_shuffle as channel_shuffle,
    conv_tbc as conv_tbc,
    fold as fold,
    native_channel_shuffle as native_channel_shuffle,
    pixel_shuffle as pixel_shuffle,
    pixel_unshuffle as pixel_unshuffle,
    unfold as unfold,
)

_functions = {n: f for n, f in globals().items() if n[0] != "_" and f.__class__ is _FunctionType}
for _function in _functions.values():
    if _function.__module__ != "tilegrad":
        _function.__module__ = "tilegrad.nn.functional"  # where pickle and help() find it
_exact(list(_functions.values()))
_renamed([_functions[name] for name in sorted(_FUNCTIONAL)], _extras)
_checked(_functions.values())

if not _typing.TYPE_CHECKING:  # type checkers read the imports
    __all__ = list(_functions)
