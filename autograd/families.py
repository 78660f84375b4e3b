"""Methods of tensors by family of ops, one line each."""

from __future__ import annotations

import numpy as np

from tilegrad.autograd import casts, shaping
from tilegrad.autograd.annotations import Number, Tensor
from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.operators import ElementwiseMethods
from tilegrad.autograd.rules import (
    activation,
    counting,
    creation,
    extrema,
    index,
    indexing,
    masked,
    matmul as products,
    moments,
    movement,
    predicates,
    product,
    random,
    rearrange,
    reduce,
    resize,
    sampling,
    scan,
    scatter as scattering,
    softmax as softmax_rules,
    sort as sorting,
    view as views,
)


def _rmatmul(self: Tensor, other: Tensor | np.ndarray) -> Tensor:
    if not isinstance(other, (TensorBase, np.ndarray)):
        return NotImplemented
    made: Tensor = (
        products.of_array(other, self)
        if isinstance(other, np.ndarray)
        else products.matmul(other, self)
    )
    return made


def _where(self: Tensor, condition: Tensor, other: Tensor | Number) -> Tensor:
    """This tensor where ``condition`` holds, else ``other``."""
    return masked.where(condition, self, other)


class FamilyMethods(ElementwiseMethods):
    """What :class:`Tensor` takes from ``autograd/rules``, elementwise ops apart."""

    __slots__ = ()

    # --------------------------------------------------------------------------- creation, views

    new_empty, new_full, new_tensor = creation.new_empty, creation.new_full, creation.new_tensor
    new_empty_strided = creation.new_empty_strided
    new_ones, new_zeros = creation.new_ones, creation.new_zeros
    view, view_as = shaping.view, shaping.view_as
    reshape, reshape_as = shaping.reshape, shaping.reshape_as
    expand, expand_as = shaping.expand, shaping.expand_as
    permute, t = shaping.permute, shaping.t
    transpose = views.transpose
    swapaxes, swapdims = views.swapaxes, views.swapdims
    squeeze, unsqueeze = views.squeeze, views.unsqueeze
    select, narrow = views.select, views.narrow
    is_complex, is_signed = predicates.is_complex, predicates.is_signed
    is_same_size, is_nonzero = predicates.is_same_size, predicates.is_nonzero
    resize_, resize_as_ = resize.resize_, resize.resize_as_
    diagonal, unfold, as_strided = views.diagonal, views.unfold, views.as_strided

    # -------------------------------------------------------------------------------- reductions

    sum = reduce.sum
    sum_to_size = reduce.sum_to_size
    mean = reduce.mean
    prod = product.prod
    nansum = reduce.nansum
    nanmean = reduce.nanmean
    any = reduce.any
    all = reduce.all
    count_nonzero = reduce.count_nonzero
    max = extrema.max
    min = extrema.min
    amax = extrema.amax
    amin = extrema.amin
    aminmax = extrema.aminmax
    argmax = extrema.argmax
    argmin = extrema.argmin
    var = moments.var
    std = moments.std
    norm = moments.norm
    logsumexp = moments.logsumexp
    cumsum = scan.cumsum
    cumprod = scan.cumprod
    cummax = scan.cummax
    cummin = scan.cummin
    logcumsumexp = scan.logcumsumexp

    # ------------------------------------------------------------------------------------ matmul

    matmul = __matmul__ = products.matmul

    __rmatmul__ = _rmatmul

    mm, bmm, mv = products.mm, products.bmm, products.mv
    dot, outer = products.dot, products.outer
    addmm, addmv, baddbmm = products.addmm, products.addmv, products.baddbmm

    # ----------------------------------------------------------------------------- softmax, norms

    softmax = softmax_rules.softmax
    log_softmax = softmax_rules.log_softmax

    prelu = activation.prelu

    # --------------------------------------------------------------- indexing, joining, sorting

    __getitem__ = indexing.getitem
    __setitem__ = indexing.setitem
    index_put = indexing.index_put
    index_put_ = indexing.index_put_
    index_select = index.index_select
    index_add = index.index_add
    index_add_ = index.index_add_
    index_copy = index.index_copy
    index_copy_ = index.index_copy_
    index_fill = index.index_fill
    index_fill_ = index.index_fill_
    put = index.put
    take = index.take
    take_along_dim = scattering.take_along_dim
    gather = scattering.gather
    scatter = scattering.scatter
    scatter_ = scattering.scatter_
    scatter_add = scattering.scatter_add
    scatter_add_ = scattering.scatter_add_
    scatter_reduce = scattering.scatter_reduce
    scatter_reduce_ = scattering.scatter_reduce_
    masked_fill = masked.masked_fill
    masked_fill_ = masked.masked_fill_
    masked_select = masked.masked_select
    masked_scatter = masked.masked_scatter
    masked_scatter_ = masked.masked_scatter_
    nonzero = masked.nonzero
    argwhere = masked.argwhere
    tril = masked.tril
    tril_ = masked.tril_
    triu = masked.triu
    triu_ = masked.triu_
    diag = masked.diag
    diag_embed = masked.diag_embed
    trace = masked.trace
    bincount = counting.bincount
    unique = counting.unique
    unique_consecutive = counting.unique_consecutive

    where = _where

    broadcast_to = shaping.broadcast_to
    chunk = rearrange.chunk
    flatten = rearrange.flatten

    flip = shaping.flip
    fliplr = movement.fliplr
    flipud = movement.flipud
    movedim = moveaxis = rearrange.movedim
    argsort = sorting.argsort
    kthvalue = sorting.kthvalue
    median = sorting.median
    mode = sorting.mode
    msort = sorting.msort
    nanmedian = sorting.nanmedian
    ravel = rearrange.ravel
    repeat = movement.repeat
    repeat_interleave = movement.repeat_interleave
    roll = movement.roll
    rot90 = movement.rot90
    split = rearrange.split
    hsplit = rearrange.hsplit
    vsplit = rearrange.vsplit
    dsplit = rearrange.dsplit
    tensor_split = rearrange.tensor_split
    sort = sorting.sort
    tile = movement.tile
    topk = sorting.topk
    unbind = rearrange.unbind
    unflatten = rearrange.unflatten

    # ------------------------------------------------------------------------------------ random

    bernoulli = random.bernoulli
    bernoulli_ = random.bernoulli_
    exponential_ = random.exponential_
    multinomial = sampling.multinomial
    normal_ = random.normal_
    random_ = random.random_
    uniform_ = random.uniform_

    # ------------------------------------------------------------------------------------ dtypes

    bool, byte, char, short = casts.bool, casts.byte, casts.char, casts.short
    int, long, float, double = casts.int, casts.long, casts.float, casts.double
    cfloat, cdouble = casts.cfloat, casts.cdouble
