"""Layers and functions at odd inputs: empty, of one element, NaN, of a wrong size, dtype or option.

Every row runs in PyTorch too, which says what comes: the value, its shape and dtype, or the type of
the exception.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

CALLS = """
nn.Hardtanh(2,1)
nn.Hardtanh(1,1)
F.hardtanh(t.ones(2),2,1)
nn.GroupNorm(0,4)
nn.GroupNorm(2,0)
nn.GroupNorm(3,4)
nn.Conv2d(0,3,2)
nn.Conv2d(3,0,2)
nn.Conv2d(4,4,2,groups=0)
nn.Conv2d(4,4,2,groups=3)
nn.Conv2d(4,5,2,groups=2)
nn.Conv2d(4,4,2,padding="x")
nn.Conv2d(4,4,2,stride=2,padding="same")
nn.Conv2d(4,4,2,padding_mode="x")
nn.ConvTranspose2d(4,4,2,padding_mode="reflect")
nn.ConvTranspose2d(4,4,2,groups=0)
nn.Linear(0,3)
nn.Linear(3,0)
nn.Linear(-1,3)
nn.Bilinear(0,2,2)
nn.BatchNorm2d(0)
nn.BatchNorm2d(-1)
nn.LayerNorm(0)
nn.LayerNorm(())
nn.LayerNorm(-1)
nn.Unflatten(1,(2.,2.))
nn.Unflatten(1,2)
nn.Unflatten(1,[2,2])
nn.Flatten(1.)(t.ones(2,2))
nn.Dropout(1.5)
nn.Dropout(-.1)
F.dropout(t.ones(2),2.)
F.dropout2d(t.ones(2,2,2),-1.)
F.dropout1d(t.ones(2,2,2),1.5)
F.dropout3d(t.ones(2,2,2,2,2),1.5)
F.dropout1d(t.ones(2))
F.dropout1d(t.ones(2,2,2,2))
nn.Embedding(0,3)
nn.Embedding(3,0)
nn.Embedding(3,2,padding_idx=3)
nn.Embedding(3,2,padding_idx=-4)
nn.Embedding(3,2,_weight=t.ones(2,2))
F.embedding(t.tensor([3]),t.ones(3,2))
F.embedding(t.tensor([-1]),t.ones(3,2))
F.embedding(t.tensor([1.]),t.ones(3,2))
F.embedding(t.tensor([],dtype=t.int64),t.ones(3,2))
nn.MultiheadAttention(5,2)
nn.MultiheadAttention(4,0)
nn.MultiheadAttention(4,2,dropout=2.)
nn.PReLU(0)
F.prelu(t.ones(2,3),t.ones(2))
F.prelu(t.ones(2,3),t.ones(1))
F.prelu(t.ones(()),t.ones(1))
F.glu(t.ones(3))
F.glu(t.ones(()))
F.glu(t.ones(0))
F.softmax(t.ones(2,2),2)
F.softmax(t.ones(2,dtype=t.int64),0)
F.log_softmax(t.ones(2,dtype=t.int64),0)
F.softmax(t.ones(()),0)
F.relu(t.ones(2,dtype=t.bool))
F.relu(t.tensor([-1,2]))
F.relu6(t.tensor([-1,9]))
F.gelu(t.ones(2),approximate="x")
F.hardtanh(t.tensor([-3,3]))
F.celu(t.ones(2),alpha=0)
F.softshrink(t.ones(2),-1.)
F.threshold(t.tensor([1,5]),2,0)
F.softsign(t.tensor([1,-2]))
F.tanhshrink(t.tensor([1,-2]))
F.rms_norm(t.ones(2,3),(2,))
F.layer_norm(t.ones(2,3),(2,))
F.layer_norm(t.ones(2,3),())
F.layer_norm(t.ones(2,3,dtype=t.float64),(3,),t.ones(3))
F.layer_norm(t.ones(2,3),(3,),t.ones(3,dtype=t.float64))
F.group_norm(t.ones(2,4,dtype=t.float64),2,t.ones(4))
F.group_norm(t.ones(2,4),2,t.ones(3))
F.group_norm(t.ones(4),2)
F.group_norm(t.ones(1,4),4)
F.batch_norm(t.ones(2,4,dtype=t.float64),t.ones(4),t.ones(4))
F.batch_norm(t.ones(2,4),t.ones(3),t.ones(3))
F.batch_norm(t.ones(2,4),None,None)
F.batch_norm(t.ones(1,4),None,None,training=True)
F.batch_norm(t.ones(2,4,dtype=t.float64),t.ones(4),t.ones(4),training=True)
F.instance_norm(t.ones(2,4,1))
F.instance_norm(t.ones(2,4))
F.instance_norm(t.ones(2,4,3,dtype=t.float64),weight=t.ones(4))
F.linear(t.ones(2,3,dtype=t.float64),t.ones(4,3))
F.linear(t.ones(2,3),t.ones(4,2))
F.linear(t.ones(2,3),t.ones(4,3),t.ones(3))
F.linear(t.ones(2,3),t.ones(4,3),t.ones(4,dtype=t.float64))
F.linear(t.ones(()),t.ones(4,3))
F.linear(t.ones(3,dtype=t.int64),t.ones(4,3,dtype=t.int64))
F.bilinear(t.ones(2,3,dtype=t.float64),t.ones(2,3),t.ones(4,3,3))
F.conv2d(t.ones(1,1,3,3,dtype=t.float64),t.ones(1,1,2,2))
F.conv2d(t.ones(1,1,3,3),t.ones(1,1,2,2,dtype=t.float64))
F.conv2d(t.ones(1,1,3,3),t.ones(1,1,2,2),t.ones(2))
F.conv2d(t.ones(1,1,3,3),t.ones(1,1,4,4))
F.conv2d(t.ones(1,2,3,3),t.ones(1,1,2,2))
F.conv2d(t.ones(3,3),t.ones(1,1,2,2))
F.conv2d(t.ones(1,1,3,3),t.ones(1,1,2,2),stride=0)
F.conv2d(t.ones(1,1,3,3),t.ones(1,1,2,2),dilation=0)
F.conv2d(t.ones(1,1,3,3),t.ones(1,1,2,2),padding=-1)
F.conv2d(t.ones(1,1,3,3),t.ones(1,1,2,2),groups=0)
F.conv2d(t.ones(1,1,3,3,dtype=t.bool),t.ones(1,1,2,2,dtype=t.bool))
F.conv_transpose2d(t.ones(1,1,3,3,dtype=t.float64),t.ones(1,1,2,2))
F.conv_transpose2d(t.ones(1,1,3,3),t.ones(1,1,2,2),output_padding=1)
F.conv_transpose2d(t.ones(1,1,3,3),t.ones(1,1,2,2),output_padding=-1)
F.conv_transpose2d(t.ones(1,2,3,3),t.ones(1,1,2,2))
F.max_pool2d(t.ones(1,1,3,3),0)
F.max_pool2d(t.ones(1,1,3,3),2,stride=0)
F.max_pool2d(t.ones(1,1,3,3),2,padding=2)
F.max_pool2d(t.ones(1,1,3,3),2,padding=-1)
F.max_pool2d(t.ones(1,1,3,3),4)
F.max_pool2d(t.ones(3,3),2)
F.max_pool2d(t.ones(1,0,3,3),2)
F.max_pool2d(t.ones(1,1,0,3),2)
F.avg_pool2d(t.ones(1,1,3,3),0)
F.avg_pool2d(t.ones(1,1,3,3),2,padding=2)
F.avg_pool2d(t.ones(1,1,3,3),2,divisor_override=0)
F.avg_pool2d(t.ones(1,1,3,3),4)
F.avg_pool2d(t.ones(1,1,3,3,dtype=t.int32),2)
F.adaptive_avg_pool2d(t.ones(1,1,3,3),(1,2,3))
F.adaptive_avg_pool2d(t.ones(1,1,3,3),-1)
F.adaptive_avg_pool2d(t.ones(1,1,3,3),0)
F.adaptive_max_pool2d(t.ones(1,1,3,3),0)
F.adaptive_avg_pool2d(t.ones(1,1,0,3),2)
F.max_pool2d(t.ones(1,1,3,3,dtype=t.bool),2)
F.one_hot(t.tensor([-1]))
F.one_hot(t.tensor([3]),2)
F.one_hot(t.tensor([],dtype=t.int64))
F.one_hot(t.tensor([],dtype=t.int64),3)
F.one_hot(t.tensor([1.]))
F.binary_cross_entropy(t.full((2,),1.5),t.ones(2))
F.binary_cross_entropy(t.full((2,),.5),t.full((2,),1.5))
F.binary_cross_entropy(t.full((2,),float("nan")),t.ones(2))
F.binary_cross_entropy(t.full((2,),.5),t.ones(2),weight=t.ones(3))
F.binary_cross_entropy_with_logits(t.full((2,),.5),t.ones(2),pos_weight=t.ones(3))
F.cross_entropy(t.ones(2,3),t.full((2,3),.3),ignore_index=1)
F.cross_entropy(t.ones(2,3),t.full((2,2),.3))
F.cross_entropy(t.ones(2,3),t.tensor([0,3]))
F.cross_entropy(t.ones(2,3),t.tensor([0,-1]))
F.cross_entropy(t.ones(2,3),t.tensor([0,1]),label_smoothing=2.)
F.cross_entropy(t.ones(2,3),t.tensor([0,1]),weight=t.ones(2))
F.cross_entropy(t.ones(2,3),t.tensor([0,1],dtype=t.int32))
F.cross_entropy(t.ones(2,3),t.tensor([0.,1.]))
F.cross_entropy(t.ones(2,3),t.ones(2,3,dtype=t.int64))
F.nll_loss(t.ones(2,3),t.tensor([0.,1.]))
F.nll_loss(t.ones(2,3,dtype=t.int64),t.tensor([0,1]))
F.huber_loss(t.ones(2),t.ones(2),delta=0.)
F.smooth_l1_loss(t.ones(2),t.ones(2),beta=-1.)
F.gaussian_nll_loss(t.ones(2),t.ones(2),t.tensor([-1.,1.]))
F.gaussian_nll_loss(t.ones(2),t.ones(2),t.ones(3))
F.gaussian_nll_loss(t.ones(2),t.ones(2),t.ones(2),eps=0.)
F.triplet_margin_loss(t.ones(2,3),t.ones(2,3),t.ones(3))
F.triplet_margin_loss(t.ones(2,3),t.ones(2,3),t.ones(2,3),margin=0)
F.cosine_embedding_loss(t.ones(2,3),t.ones(2,3),t.ones(2,3))
F.margin_ranking_loss(t.ones(2),t.ones(2),t.ones(2,1))
F.normalize(t.ones(0,3))
F.normalize(t.ones(3,0))
F.normalize(t.ones(3))
F.cosine_similarity(t.ones(2,3),t.ones(3,2))
F.pairwise_distance(t.ones(2,3),t.ones(2,2))
F.scaled_dot_product_attention(t.ones(2,3,4),t.ones(2,3,5),t.ones(2,3,4))
F.scaled_dot_product_attention(t.ones(2,3,4),t.ones(2,3,4,dtype=t.float64),t.ones(2,3,4))
F.scaled_dot_product_attention(t.ones(4),t.ones(4),t.ones(4))
F.scaled_dot_product_attention(t.ones(0,3,4),t.ones(0,3,4),t.ones(0,3,4))
F.scaled_dot_product_attention(t.ones(2,0,4),t.ones(2,3,4),t.ones(2,3,4))
F.scaled_dot_product_attention(t.ones(2,3,4),t.ones(2,0,4),t.ones(2,0,4))
F.scaled_dot_product_attention(t.ones(2,3,0),t.ones(2,3,0),t.ones(2,3,4))
t.normal(t.zeros(2),t.tensor([-1.,1.]))
t.normal(0.,-1.,(2,))
t.zeros(2).normal_(0,-1)
t.meshgrid([])
t.meshgrid()
t.linspace(0,1,3,dtype=t.bool)
t.linspace(0,1,-1)
t.logspace(0,1,3,dtype=t.bool)
nn.init.trunc_normal_(t.ones(2),std=0.)
nn.init.xavier_uniform_(t.ones(2))
nn.init.kaiming_uniform_(t.ones(2,0))
nn.init.kaiming_normal_(t.ones(2,2),mode="x")
nn.init.orthogonal_(t.ones(2))
nn.init.eye_(t.ones(2,2,2))
nn.init.dirac_(t.ones(2))
nn.init.normal_(t.ones(2),std=-1.)
nn.init.uniform_(t.ones(2),2.,1.)
nn.Softmax(5)(t.ones(2))
nn.Threshold(1,2)(t.ones(2))
nn.Linear(3,2)(t.ones(2,3,dtype=t.float64))
nn.Conv2d(1,1,2)(t.ones(1,1,3,3,dtype=t.float64))
nn.BatchNorm1d(3)(t.ones(2,3,dtype=t.float64))
nn.LayerNorm(3)(t.ones(2,3,dtype=t.float64))
nn.GroupNorm(1,3)(t.ones(2,3,dtype=t.float64))
nn.InstanceNorm1d(3)(t.ones(2,3,4,dtype=t.float64))
nn.PReLU()(t.ones(2,3,dtype=t.float64))
nn.MultiheadAttention(4,2)(*[t.ones(2,3,4,dtype=t.float64)]*3)[0]
nn.TransformerEncoderLayer(4,2,8)(t.ones(2,3,4,dtype=t.float64))
nn.Bilinear(2,2,2)(t.ones(2,2,dtype=t.float64),t.ones(2,2,dtype=t.float64))
nn.BatchNorm1d(3)(t.ones(2,4))
nn.BatchNorm1d(3)(t.ones(2))
nn.BatchNorm2d(3)(t.ones(2,3))
nn.BatchNorm1d(3)(t.ones(1,3))
t.gather(t.ones(3),0,t.tensor([],dtype=t.int64))
t.gather(t.ones(0),0,t.tensor([],dtype=t.int64))
t.gather(t.ones(2,3),1,t.zeros(0,3,dtype=t.int64))
t.gather(t.ones(2,3),1,t.zeros(0,dtype=t.int64))
t.ones(3).scatter(0,t.tensor([],dtype=t.int64),t.ones(0))
t.ones(3).scatter(0,t.tensor([],dtype=t.int64),5.)
t.ones(2,3).scatter(1,t.zeros(0,dtype=t.int64),5.)
t.ones(2,3).scatter(1,t.zeros(0,dtype=t.int64),t.ones(0))
t.ones(2,3).scatter_add(1,t.zeros(0,dtype=t.int64),t.ones(0))
t.ones(2,3).scatter_add(1,t.zeros(0,3,dtype=t.int64),t.ones(2,3))
t.ones(2,3).scatter_reduce(1,t.zeros(0,dtype=t.int64),t.ones(0),"sum")
t.ones(2,3).index_add(0,t.zeros(0,dtype=t.int64),t.ones(0,3))
t.ones(2,3).index_copy(0,t.zeros(0,dtype=t.int64),t.ones(0,3))
t.ones(2,3).index_fill(0,t.zeros(0,dtype=t.int64),2.)
t.ones(2,3).index_select(0,t.zeros(0,dtype=t.int64))
t.ones(0,3).index_select(0,t.zeros(0,dtype=t.int64))
t.ones(2,3)[t.zeros(0,dtype=t.int64)]
t.ones(2,3)[t.zeros(0)]
t.ones(2,3)[[]]
t.ones(2,3)[t.zeros(2,3,dtype=t.bool)]
t.ones(2,3).take(t.zeros(0,dtype=t.int64))
t.ones(0).take(t.zeros(0,dtype=t.int64))
t.ones(0).take(t.zeros(1,dtype=t.int64))
t.ones(2,3).masked_fill(t.zeros(0,dtype=t.bool),1.)
t.ones(2,3).index_add(0,t.zeros(0),t.ones(0,3))
t.ones(()).gather(0,t.tensor(0))
t.ones(()).scatter(0,t.tensor(0),2.)
nn.Buffer(t.ones(2))
nn.Sequential(1)
nn.ModuleList([1])
nn.ParameterList([1])
nn.Identity()(t.ones(0))
nn.ReLU(inplace=True)(t.ones(0))
nn.AvgPool2d(0)(t.ones(1,1,2,2))
nn.CrossEntropyLoss(reduction="x")(t.ones(2,2),t.tensor([0,1]))
nn.MSELoss(reduction="x")(t.ones(2),t.ones(2))
nn.utils.clip_grad_norm_([],1.)
nn.utils.clip_grad_norm_([t.ones(2)],1.)
nn.HuberLoss(delta=0.)(t.ones(2),t.ones(2))
nn.PoissonNLLLoss()(t.ones(0),t.ones(0))
nn.TripletMarginLoss(margin=-1.)
nn.GaussianNLLLoss()(t.ones(2),t.ones(2),t.ones(2))
""".strip().splitlines()

LOSSES = (
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "kl_div", "poisson_nll_loss", "soft_margin_loss",
    "hinge_embedding_loss",
)  # fmt: skip
REDUCTIONS = ("mean", "sum", "none")

# of a module: how to make it, and the shapes of its inputs, in which n is the batch
MODULES = """
n.Linear(3,2) | [(batch,3)]
n.Linear(3,2) | [(2,batch,3)]
n.Bilinear(2,3,4) | [(batch,2),(batch,3)]
n.Conv1d(2,3,2) | [(batch,2,4)]
n.Conv2d(2,3,2) | [(batch,2,4,4)]
n.Conv3d(2,3,2) | [(batch,2,4,4,4)]
n.ConvTranspose1d(2,3,2) | [(batch,2,4)]
n.ConvTranspose2d(2,3,2) | [(batch,2,4,4)]
n.ConvTranspose3d(2,3,2) | [(batch,2,4,4,4)]
n.BatchNorm1d(3) | [(batch,3)]
n.BatchNorm1d(3) | [(batch,3,4)]
n.BatchNorm2d(3) | [(batch,3,2,2)]
n.BatchNorm3d(3) | [(batch,3,2,2,2)]
n.InstanceNorm1d(3,affine=True) | [(batch,3,4)]
n.InstanceNorm2d(3,affine=True,track_running_stats=True) | [(batch,3,2,2)]
n.InstanceNorm2d(3) | [(batch,3,1,1)]
n.LayerNorm(3) | [(batch,3)]
n.LayerNorm((2,3)) | [(batch,2,3)]
n.RMSNorm(3) | [(batch,3)]
n.GroupNorm(2,4) | [(batch,4,3)]
n.GroupNorm(4,4) | [(batch,4)]
n.GroupNorm(4,4) | [(2,4)]
n.GroupNorm(4,4) | [(batch,4,1,1)]
n.GroupNorm(2,4) | [(batch,4)]
n.MaxPool1d(2) | [(batch,2,4)]
n.MaxPool2d(2) | [(batch,2,4,4)]
n.MaxPool3d(2) | [(batch,2,4,4,4)]
n.AvgPool1d(2) | [(batch,2,4)]
n.AvgPool2d(2) | [(batch,2,4,4)]
n.AvgPool3d(2) | [(batch,2,4,4,4)]
n.AdaptiveAvgPool1d(2) | [(batch,2,4)]
n.AdaptiveAvgPool2d(2) | [(batch,2,4,4)]
n.AdaptiveAvgPool2d(1) | [(batch,2,4,4)]
n.AdaptiveAvgPool3d(2) | [(batch,2,4,4,4)]
n.AdaptiveMaxPool1d(2) | [(batch,2,4)]
n.AdaptiveMaxPool2d(2) | [(batch,2,4,4)]
n.MultiheadAttention(4,2) | [(3,batch,4)]*3
n.MultiheadAttention(4,2,batch_first=True) | [(batch,3,4)]*3
n.MultiheadAttention(4,2,add_bias_kv=True,add_zero_attn=True) | [(3,batch,4)]*3
n.MultiheadAttention(4,2) | [(batch,2,4),(3,2,4),(3,2,4)]
n.MultiheadAttention(4,2) | [(3,2,4),(batch,2,4),(batch,2,4)]
n.TransformerEncoderLayer(4,2,8,0.) | [(3,batch,4)]
n.TransformerDecoderLayer(4,2,8,0.) | [(3,batch,4),(2,batch,4)]
n.TransformerEncoderLayer(4,2,8,0.,batch_first=True,norm_first=True) | [(batch,3,4)]
n.TransformerEncoder(n.TransformerEncoderLayer(4,2,8,0.,batch_first=True),2) | [(batch,3,4)]
n.PReLU(3) | [(batch,3)]
n.GLU() | [(batch,4)]
n.Softmax(1) | [(batch,3)]
n.Softmax(1) | [(2,batch)]
n.LogSoftmax(1) | [(2,batch)]
n.Flatten() | [(batch,2,3)]
n.Unflatten(1,(2,2)) | [(batch,4)]
n.Dropout(0.) | [(batch,3)]
n.Dropout2d(1.) | [(batch,3,2)]
n.Hardtanh() | [(batch,3)]
n.GELU() | [(batch,3)]
""".strip().splitlines()


def _outcome(t: Any, call: Any) -> Any:
    """The type of what ``call`` raises, or its tensors as arrays."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = call(t)
    except Exception as error:
        return type(error)
    made = made if isinstance(made, (list, tuple)) else [made]
    return [x.detach().numpy() if isinstance(x, t.Tensor) else None for x in made]


def _same(call: Any, exactly: bool = True) -> None:
    """Both libraries give the same; ``exactly`` False: of values only shape and dtype."""
    want, have = _outcome(torch, call), _outcome(tilegrad, call)
    if isinstance(want, type) or isinstance(have, type):
        assert isinstance(have, type) and isinstance(want, type), (want, have)
        assert issubclass(have, want)
        return
    for a, b in zip(have, want, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            if exactly:
                np.testing.assert_allclose(a, b, 1e-4, 1e-5)


def _run(t: Any, text: str, **names: Any) -> Any:
    return eval(text, {"t": t, "nn": t.nn, "n": t.nn, "F": t.nn.functional, **names})


@pytest.mark.parametrize("text", CALLS)
def test_call(text: str) -> None:
    random = any(word in text for word in ("dropout", "normal", "init."))
    _same(lambda t: _run(t, text), exactly=not random)


def _ramp(t: Any, shape: tuple[int, ...], step: float, first: float) -> Any:
    values = np.arange(int(np.prod(shape))) % 7 * step + first
    return t.tensor(values.reshape(shape).astype("float32"))


def _module(t: Any, text: str, batch: int, training: bool) -> Any:
    """Output, gradients of inputs and parameters, and buffers."""
    make, shapes = text.split(" | ")
    net = _run(t, make)
    net.train(training)
    parameters = [p for _, p in sorted(net.named_parameters())]
    with t.no_grad():
        for p in parameters:
            p.copy_(_ramp(t, tuple(p.shape), 0.1, -0.3))
    inputs = [_ramp(t, s, 0.3, -0.5).requires_grad_() for s in _run(t, shapes, batch=batch)]
    made = net(*inputs)
    made = made[0] if isinstance(made, tuple) else made
    made.sum().backward()
    buffers = [b for _, b in sorted(net.named_buffers())]
    return [made, *(x.grad for x in (*inputs, *parameters)), *buffers]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("text", MODULES)
def test_module_of_no_or_one_sample(text: str, training: bool) -> None:
    for batch in (0, 1):
        if batch == 0 and "InstanceNorm" in text and "True" in text:
            continue  # PyTorch fails within, for want of a first sample
        _same(partial(_module, text=text, batch=batch, training=training))


@pytest.mark.parametrize("name", LOSSES)
def test_loss_of_nothing(name: str) -> None:
    for reduction in (*REDUCTIONS, "bogus"):
        for shape in ((0, 3), (2, 0), (0,), ()):

            def call(t: Any, shape: tuple[int, ...] = shape, how: str = reduction) -> Any:
                x = t.full(shape, 0.25).requires_grad_()
                loss = getattr(t.nn.functional, name)(x, t.full(shape, 0.5), reduction=how)
                loss.sum().backward()
                return loss, x.grad

            _same(call)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(4, 0), (0, 3), (0, 0), (2, 3, 0), (2, 0, 3), (0,)])
def test_cross_entropy_of_nothing(shape: tuple[int, ...], reduction: str) -> None:
    for how in ({}, {"label_smoothing": 0.1}, {"weight": True}):

        def call(t: Any, how: dict[str, Any] = how) -> Any:
            given: dict[str, Any] = dict(how)
            if "weight" in how:
                given["weight"] = t.ones(shape[1 if len(shape) > 1 else 0])
            x = t.ones(shape).requires_grad_()
            loss = t.nn.functional.cross_entropy(x, t.zeros(shape), reduction=reduction, **given)
            loss.sum().backward()
            return loss, x.grad

        _same(call)


@pytest.mark.parametrize("name", ["dropout", "dropout1d", "dropout2d", "dropout3d"])
def test_dropout_multiplies(name: str, device: str) -> None:
    """What is dropped is multiplied by 0: NaN stays, infinity becomes it; its gradient too."""
    x = tilegrad.ones(40, 1, 2, 1, 1)[(slice(None),) * (3 if name == "dropout1d" else 5)]
    x = x.reshape(40, 1, 2) if name == "dropout1d" else x
    function = getattr(tilegrad.nn.functional, name)
    for odd in (np.nan, np.inf):
        leaf = (x * odd).to(device).detach().requires_grad_()
        made = function(leaf, 0.5)
        dropped = made.detach().isnan().cpu().numpy()
        assert dropped.all() if np.isnan(odd) else 0 < dropped.sum() < dropped.size
        made.backward((x * odd).to(device))
        assert np.array_equal(np.isnan(leaf.grad.cpu().numpy()), dropped)


@pytest.mark.parametrize("channels", [2, 3, 7])
def test_the_older_response_norm_counts_as_pytorchs(channels: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, channels, 3, 2))
    for size in (1, 2, 3, 5):
        ours = tilegrad.nn.CrossMapLRN2d(size, 0.5)(tilegrad.from_numpy(x)).numpy()
        theirs = torch.nn.CrossMapLRN2d(size, 0.5)(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_an_adaptive_softmax_computes_as_pytorchs() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((9, 8)), rng.integers(0, 12, 9)
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 7], 2.0).double()
    ours = tilegrad.nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 7], 2.0).double()
    state = {k: tilegrad.from_numpy(np.array(v.numpy())) for k, v in theirs.state_dict().items()}
    ours.load_state_dict(state)
    have = ours(tilegrad.from_numpy(x), tilegrad.from_numpy(y))
    want = theirs(torch.from_numpy(x), torch.from_numpy(y))
    np.testing.assert_allclose(have.output.detach().numpy(), want.output.detach().numpy())
    have.loss.backward(), want.loss.backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), atol=1e-12)
    given = ours.log_prob(tilegrad.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(given, theirs.log_prob(torch.from_numpy(x)).detach().numpy())


def test_options_of_linear_cross_entropy_are_not_forgotten_in_silence() -> None:
    options = tilegrad.nn.LinearCrossEntropyOptions(batch_chunk_size=2, chunking_method=None)
    layer = tilegrad.nn.LinearCrossEntropyLoss(3, 4, options=options)
    with pytest.warns(UserWarning, match="options are not supported"):
        layer(tilegrad.ones(2, 3), tilegrad.tensor([0, 3]))
    for wrong in (
        {"batch_chunk_size": 0},
        {"acc_policy": "fast"},
        {"chunking_method": "aspect_ratio:0"},
    ):
        with pytest.raises(ValueError):
            tilegrad.nn.LinearCrossEntropyOptions(**wrong)  # type: ignore[arg-type]
