"""Programs that are exported: a module or a function, its example, and the dimensions that change."""

from __future__ import annotations

import math
from typing import Any

import tilegrad
import tilegrad.nn.functional as F
from tilegrad import Tensor, nn

R = tilegrad.randn
N = {0: "N"}
NT = {0: "N", 1: "T"}


def written(x: Tensor) -> Tensor:
    """Writes by index, slice and mask, one of them of a view."""
    y = x.clone()
    y[0] = 1.0
    y[:, 1:3] *= 2
    y[y > 1] = 0.5
    y[:, -1] = y[:, 0]
    y.t()[1].add_(y[:, 2])
    return y


PROGRAMS: dict[str, tuple[Any, tuple[Tensor, ...], list[dict[int, str]]]] = {
    "lenet": (
        nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(400, 10),
        ),
        (R(2, 1, 28, 28),),
        [N],
    ),
    "bn": (
        nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        ),
        (R(2, 3, 8, 8),),
        [N],
    ),
    "bn_dyn_hw": (
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, stride=2), nn.BatchNorm2d(4), nn.AvgPool2d(2), nn.GELU()
        ),
        (R(2, 3, 16, 16),),
        [{0: "N", 2: "H", 3: "W"}],
    ),
    "ln": (nn.LayerNorm(6), (R(3, 5, 6),), [NT]),
    "ln2": (nn.LayerNorm((5, 6)), (R(3, 5, 6),), [N]),
    "rms": (nn.RMSNorm(6), (R(3, 5, 6),), [N]),
    "gn": (nn.GroupNorm(2, 4), (R(3, 4, 5, 5),), [N]),
    "in": (nn.InstanceNorm2d(4, affine=True), (R(3, 4, 5, 5),), [N]),
    "lstm": (nn.LSTM(5, 4, batch_first=True), (R(2, 6, 5),), [NT]),
    "lstm2": (nn.LSTM(5, 4, num_layers=2, bidirectional=True), (R(6, 2, 5),), [{0: "T", 1: "N"}]),
    "gru": (nn.GRU(5, 4, num_layers=2, bidirectional=True, batch_first=True), (R(2, 6, 5),), [NT]),
    "rnn": (nn.RNN(5, 4, nonlinearity="relu", bias=False), (R(6, 2, 5),), [{0: "T", 1: "N"}]),
    "mha": (
        nn.MultiheadAttention(8, 2, batch_first=True),
        (R(2, 5, 8), R(2, 7, 8), R(2, 7, 8)),
        [NT, {0: "N", 1: "S"}, {0: "N", 1: "S"}],
    ),
    "enc": (
        nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
        (R(2, 5, 8),),
        [NT],
    ),
    "encgelu": (
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu", norm_first=True),
        (R(2, 5, 8),),
        [NT],
    ),
    "transformer": (
        nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
        (R(2, 5, 8), R(2, 4, 8)),
        [NT, {0: "N", 1: "S"}],
    ),
    "emb": (
        nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 3)),
        (tilegrad.randint(0, 10, (2, 5)),),
        [NT],
    ),
    "ct": (
        nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1),
        (R(2, 3, 5, 5),),
        [{0: "N", 2: "H"}],
    ),
    "conv1d": (
        nn.Conv1d(3, 6, 3, groups=3, padding="same", dilation=2),
        (R(2, 3, 9),),
        [{0: "N", 2: "L"}],
    ),
    "conv3d": (nn.Conv3d(2, 3, 2), (R(2, 2, 4, 4, 4),), [N]),
    "softmax": (lambda x: x.softmax(-1).log(), (R(2, 5),), [N]),
    "unflat": (nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Flatten()), (R(2, 6),), [N]),
    "pix": (nn.PixelShuffle(2), (R(2, 8, 3, 3),), [{0: "N", 2: "H"}]),
    "pad": (
        nn.Sequential(
            nn.ReflectionPad2d(1), nn.ReplicationPad2d(2), nn.ZeroPad2d(1), nn.CircularPad2d(1)
        ),
        (R(2, 3, 5, 5),),
        [N],
    ),
    "up": (nn.Upsample(scale_factor=2, mode="nearest"), (R(2, 3, 5, 5),), [N]),
    "upbi": (nn.Upsample(scale_factor=2, mode="bilinear"), (R(2, 3, 5, 5),), [N]),
    "maxpoolceil": (nn.MaxPool2d(3, 2, ceil_mode=True), (R(2, 3, 8, 8),), [N]),
    "avgpad": (nn.AvgPool2d(3, 2, padding=1), (R(2, 3, 8, 8),), [N]),
    "avgpad2": (
        nn.AvgPool2d(3, 2, padding=1, count_include_pad=False, ceil_mode=True),
        (R(2, 3, 8, 8),),
        [N],
    ),
    "adapt": (nn.AdaptiveAvgPool2d((3, 2)), (R(2, 3, 8, 7),), [N]),
    "maxi": (nn.MaxPool2d(2, return_indices=True), (R(2, 3, 8, 8),), [N]),
    "inplace": (lambda x: (x.clone().add_(1).mul_(2)).relu_(), (R(2, 3),), [N]),
    "setitem": (lambda x: written(x), (R(4, 5),), [NT]),
    "slices": (lambda x: x[:, 1:-1][:, ::2].flip(1) + x[:, -1:], (R(4, 7),), [{0: "N"}]),
    "slicedyn": (lambda x: x[:, 1:-1] + x[:, -1:], (R(4, 7),), [NT]),
    "index": (lambda x, i: x[i], (R(6, 7), tilegrad.tensor([0, 2, -1])), [{0: "A"}, {0: "B"}]),
    "index2": (
        lambda x, i, j: x[i, :, j],
        (R(6, 7, 5), tilegrad.tensor([0, 2, -1]), tilegrad.tensor([1, 2, 3])),
        [N, {0: "B"}, {0: "B"}],
    ),
    "gather": (lambda x, i: x.gather(1, i), (R(3, 7), tilegrad.randint(0, 7, (3, 2))), [N, N]),
    "where": (lambda x: tilegrad.where(x > 0, x, x * 0.1), (R(3, 7),), [N]),
    "masked": (lambda x: x.masked_fill(x > 0, -1.0), (R(3, 7),), [N]),
    "tril": (lambda x: x.tril(), (R(2, 4, 4),), [N]),
    "cat": (lambda x, y: tilegrad.cat([x, y], 1), (R(2, 4), R(2, 3)), [N, N]),
    "arange": (lambda x: x + tilegrad.arange(x.shape[1]), (R(2, 4),), [NT]),
    "cdist of any norm": (
        lambda x, y: [tilegrad.cdist(x, y, p=p) for p in (0.0, 1.0, 1.5, 3.0, math.inf)],
        (tilegrad.randn(2, 5, 3), tilegrad.randn(1, 4, 3)),
        ({0: "N"}, {}),
    ),
    "pdist": (lambda x: F.pdist(x), (tilegrad.randn(5, 3),), ({1: "M"},)),
    "einsum": (
        lambda x, y: tilegrad.einsum("bij,bjk->bik", x, y),
        (R(2, 4, 3), R(2, 3, 5)),
        [NT, N],
    ),
    "mean": (
        lambda x: (x.mean((1, 2)), x.var(1), x.std(), x.sum(), x.amax(1), x.norm()),
        (R(2, 4, 3),),
        [NT],
    ),
    "topk": (lambda x: x.topk(2), (R(2, 6),), [N]),
    "sort": (lambda x: x.sort(0), (R(5, 6),), [N]),
    "argmax": (lambda x: (x.argmax(1), x.max(0)), (R(5, 6),), [N]),
    "cumsum": (lambda x: x.cumsum(1), (R(5, 6),), [N]),
    "logsumexp": (lambda x: x.logsumexp(1), (R(5, 6),), [N]),
    "acts": (
        lambda x: [
            f(x)
            for f in (
                F.elu,
                F.celu,
                F.selu,
                F.gelu,
                F.silu,
                F.mish,
                F.softplus,
                F.logsigmoid,
                F.softsign,
                F.tanhshrink,
                F.hardtanh,
                F.hardsigmoid,
                F.hardswish,
                F.softshrink,
                F.hardshrink,
                F.relu6,
                F.leaky_relu,
            )
        ],
        (R(5, 6),),
        [N],
    ),
    "glu": (nn.GLU(), (R(5, 6),), [N]),
    "prelu": (nn.PReLU(6), (R(5, 6),), [N]),
    "ce": (lambda x, t: F.cross_entropy(x, t), (R(5, 6), tilegrad.randint(0, 6, (5,))), [N, N]),
    "losses": (
        lambda x, y: (
            F.mse_loss(x, y),
            F.l1_loss(x, y),
            F.smooth_l1_loss(x, y),
            F.huber_loss(x, y),
            F.binary_cross_entropy_with_logits(x, y.sigmoid()),
            F.kl_div(x.log_softmax(1), y.softmax(1), reduction="batchmean"),
        ),
        (R(5, 6), R(5, 6)),
        [N, N],
    ),
    "cos": (nn.CosineSimilarity(), (R(5, 6), R(5, 6)), [N, N]),
    "fold": (nn.Unfold(2), (R(2, 3, 5, 5),), [N]),
    "fold2": (nn.Fold((4, 4), 2), (R(2, 12, 9),), [N]),
    "sdpa": (
        lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True),
        (R(2, 2, 5, 4),),
        [{0: "N", 2: "T"}],
    ),
    "bilinear": (nn.Bilinear(3, 4, 5), (R(2, 3), R(2, 4)), [N, N]),
    "scatter": (
        lambda x, i: tilegrad.zeros(x.shape[0], 8).scatter_add(1, i, x),
        (R(2, 3), tilegrad.randint(0, 8, (2, 3))),
        [N, N],
    ),
    "onehot": (lambda i: F.one_hot(i, 5).float(), (tilegrad.tensor([1, 2, 4]),), [N]),
    "gridsample": (
        lambda x, g: F.grid_sample(x, g, align_corners=False),
        (R(2, 3, 4, 4), R(2, 3, 3, 2)),
        [N, N],
    ),
    "diag": (
        lambda x: x.diagonal(dim1=1, dim2=2).sum(1) + tilegrad.diagonal(x, 1, 1, 2).sum(1),
        (R(2, 4, 4),),
        [N],
    ),
    "chunk": (lambda x: x.chunk(3, 1), (R(2, 6),), [N]),
    "nonzero": (lambda x: (x > 0).nonzero(), (R(2, 6),), [{}]),
    "pow": (
        lambda x: (x.abs() ** 2.5, x**2, 2**x, x.atan2(x + 1), x % 3, x // 2, x.fmod(2.0)),
        (R(2, 6),),
        [N],
    ),
    "lstmcell": (nn.LSTMCell(3, 4), (R(2, 3),), [N]),
    "bool": (
        lambda x: (
            (x > 0) & (x < 1) | (x.isnan()),
            (x > 0).any(1),
            (x > 0).sum(1),
            (x > 0) + (x < 1),
        ),
        (R(2, 6),),
        [N],
    ),
    "f64": (lambda x: (x.exp(), x.erf(), F.gelu(x), x.softmax(1)), (R(2, 6).double(),), [N]),
    "meshroll": (lambda x: x.roll(2, 1) + x.roll(-1, 0), (R(4, 6),), [N]),
    "embbag": (
        lambda i, w: F.embedding_bag(i, w, mode="mean"),
        (tilegrad.randint(0, 5, (3, 4)), R(5, 4)),
        [N, {}],
    ),
    "interp": (lambda x: F.interpolate(x, size=(7, 9), mode="bicubic"), (R(2, 3, 5, 5),), [N]),
    "wnorm": (nn.utils.weight_norm(nn.Linear(3, 4)), (R(2, 3),), [N]),
    "cdist": (lambda x, y: tilegrad.cdist(x, y), (R(4, 3), R(5, 3)), [N, {}]),
    "median": (lambda x: x.median(1), (R(4, 5),), [N]),
    "repeat": (
        lambda x: (
            x.repeat(2, 3),
            x.repeat_interleave(2, 1),
            tilegrad.stack([x, x], 1),
            x.expand(3, *x.shape),
        ),
        (R(4, 5),),
        [N],
    ),
    "shapes": (
        lambda x: x.reshape(x.shape[0] * x.shape[1], -1) * (x.shape[1] ** -0.5),
        (R(4, 5, 6),),
        [NT],
    ),
    "unfold": (lambda x: x.unfold(1, 3, 2), (R(4, 9),), [NT]),
}
