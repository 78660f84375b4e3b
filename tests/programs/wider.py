"""Statements over forms of calls: arguments by name and given tensors for any function, what Python asks of a tensor,
indices of every kind, layers with their weights, cells, losses, packed sequences, optimizers' steps, distributions.
"""

from __future__ import annotations

from tests.programs.words import (
    Area,
    each,
    has_dims,
    has_elements,
    is_alone,
    is_complex,
    is_distinct,
    is_exact,
    is_finite,
    is_float,
    is_inexact,
    is_leaf,
    is_rank,
    is_real,
    is_whole,
)  # fmt: skip


def _ramp(*sizes: str) -> str:
    """Weights of these sizes, of the dtype of ``{x}``."""
    count = " * ".join(f"({n})" for n in sizes)
    return f"t.linspace(-1, 1, {count}, dtype={{x}}.dtype).reshape({', '.join(sizes)})"


_IN, _LAST = "{x}.shape[1]", "{x}.shape[-1]"
_ONE = (
    "abs neg sign floor ceil trunc frac round square reciprocal sqrt exp log sin cos tanh sigmoid erf expm1 log1p rsqrt isnan isinf "
    "isfinite logical_not signbit sgn positive relu conj_physical nan_to_num angle sinc asinh atan bitwise_not logit"
)
_TWO = (
    "add sub mul div maximum minimum fmax fmin eq ne lt le gt ge fmod remainder floor_divide atan2 pow hypot copysign "
    "logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor gcd lcm heaviside xlogy logaddexp nextafter "
    "true_divide float_power bitwise_left_shift bitwise_right_shift ldexp"
)
_FOLD = (
    "sum mean amax amin prod all any std var logsumexp nansum argmax argmin count_nonzero nanmean"
)
_IDS = "t.zeros({x}.shape[:1], dtype=t.int64)"
_SEQUENCE = f"{_ramp('3', _LAST)}, {_ramp('3', '3')}"
_GATES = f"{_ramp('12', _LAST)}, {_ramp('12', '3')}"
_THREE = f"{_ramp('9', _LAST)}, {_ramp('9', '3')}"
_STATE = "t.ones({x}.shape[0], 3, dtype={x}.dtype)"
_LAYERS = "t.zeros(1, {x}.shape[1], 3, dtype={x}.dtype)"

WIDER = {
    # --- the same functions in other forms
    "methods": Area((
        *each("NEW = {x}.NAME()", _ONE), *each("NEW = {x}.NAME({y})", _TWO), *each("NEW = {x}.NAME({n})",
              "add sub mul div eq ne lt le gt ge fmod remainder floor_divide pow bitwise_and bitwise_or bitwise_xor "
              "float_power true_divide clamp_min clamp_max xlogy copysign"),
        *each("{x}.NAME_()", _ONE), *each("{x}.NAME_({n})", "add sub mul div eq ne lt ge fmod remainder pow bitwise_and "
              "clamp_min clamp_max fill floor_divide xlogy copysign bitwise_left_shift"),
        *each("{x}.NAME_({y})", _TWO.replace("maximum minimum fmax fmin ", "").replace("logaddexp ", "")),
    ), must=(is_exact,), weight=5),
    "by name": Area((
        *each("NEW = t.NAME(input={x})", _ONE), *each("NEW = t.NAME(input={x}, other={y})", _TWO),
        *each("NEW = t.NAME({x}, other={n})", "add sub mul div eq lt fmod remainder floor_divide true_divide xlogy"),
        *each("NEW = t.NAME(input={x}, dim={d})", _FOLD), *each("NEW = t.NAME({x}, axis={d}, keepdims={keep})",
              "sum mean amax amin prod all any std var logsumexp argmax argmin median max min"),
        *each("NEW = {x}.NAME(dim={d}, keepdim={keep})", _FOLD.replace("count_nonzero ", "")),
        "NEW = t.cat(tensors=[{x}, {z}], dim={d})", "NEW = t.stack(tensors=({x}, {z}), dim={d})",
        "NEW = t.transpose(input={x}, dim0={d}, dim1={d1})", "NEW = t.transpose({x}, axis0={d}, axis1={d1})",
        "NEW = t.flip({x}, dims=({d},))", "NEW = t.roll(input={x}, shifts={step}, dims={d})",
        "NEW = t.squeeze(input={x}, dim={d})", "NEW = t.unsqueeze(input={x}, dim={d})",
        "NEW = t.clamp(input={x}, min={n}, max={n1})", "NEW = t.clamp({x}, max={n})", "NEW = t.where(condition={mask}, input={x}, other={y})",
        "NEW = t.index_select(input={x}, dim={d}, index={ids})", "NEW = t.gather(input={x}, dim={d}, index={wide})",
        "NEW = t.narrow(input={x}, dim={d}, start=0, length={k})", "NEW = t.select(input={x}, dim={d}, index={at})",
        "NEW = t.cumsum(input={x}, dim={d}, dtype={dtype})", "NEW = t.sort(input={x}, dim={d}, descending={keep})[0]",
        "NEW = t.masked_fill(input={x}, mask={mask}, value={n})", "NEW = t.masked_select(input={x}, mask={mask})",
        "NEW = t.permute(input={x}, dims=({d}, {d1}))", "NEW = t.reshape(input={x}, shape=(-1,))",
        "NEW = t.flatten(input={x}, start_dim={d}, end_dim={d1})", "NEW = t.movedim(input={x}, source={d}, destination={d1})",
        "NEW = t.softmax(input={x}, dim={d})", "NEW = t.diagonal(input={x}, offset={step}, dim1={d}, dim2={d1})",
        "NEW = t.tril(input={x}, diagonal={step})", "NEW = t.repeat_interleave(input={x}, repeats={k}, dim={d})",
        "NEW = t.full_like(input={x}, fill_value={n})", "NEW = t.ones_like(input={x}, dtype={dtype})",
        "NEW = t.arange(start={k}, end={k1}, step={size}, dtype={dtype})", "NEW = t.full(size=({k},), fill_value={n})",
        "NEW = t.matmul(input={x}, other={z}.mT)", "NEW = t.norm(input={x}, p={p}, dim={d}, keepdim={keep})",
        "NEW = t.topk(input={x}, k=1, dim={d}, largest={keep})[0]", "NEW = t.quantile(input={x}, q=0.5, dim={d})",
        "NEW = t.split(tensor={x}, split_size_or_sections={size}, dim={d})[0]", "NEW = t.chunk(input={x}, chunks={size}, dim={d})[0]",
        "NEW = t.scatter(input={x}, dim={d}, index={wide}, src={z})", "NEW = t.scatter(input={x}, dim={d}, index={wide}, value={n})",
        "NEW = t.lerp(input={x}, end={z}, weight=0.5)", "NEW = t.addcmul(input={x}, tensor1={z}, tensor2={z1}, value={n})",
        "NEW = t.kthvalue(input={x}, k=1, dim={d}, keepdim={keep})[0]", "NEW = t.unbind(input={x}, dim={d})[0]",
        "NEW = t.std(input={x}, dim=({d}, {d1}), correction={k})", "NEW = t.var_mean({x}, dim={d}, correction={k})[0]",
        "NEW = t.take(input={x}, index={ids})", "NEW = t.broadcast_to(input={x}, size=(2, *{x}.shape))",
        "NEW = {x}.sum(dim=None)", "NEW = {x}.mean(dim=())", "NEW = t.sum({x}, ())", "NEW = t.amax({x}, ())",
        "NEW = t.all({x}, dim=({d}, {d1}), keepdim={keep})", "NEW = t.argmax({x}, dim=None, keepdim={keep})",
        "NEW = t.var({x}, dim=None, correction={k})", "NEW = t.std({x}, dim=None)", "NEW = t.norm({x}, dim=None)",
        "NEW = t.add({n}, {x})", "NEW = t.mul({n}, {x})", "NEW = t.pow({n}, {x})", "NEW = t.remainder({n}, {x})",
        "NEW = t.float_power({n}, {x})", "NEW = t.xlogy({n}, {x})", "NEW = t.bitwise_and({n}, {x})", "NEW = t.where({x} != {x}, {n}, {n1})",
    ), must=(is_exact, is_distinct), weight=6),
    "given places": Area((
        *each("NEW = t.NAME({x}, out=t.empty(0, dtype={dtype}))", _ONE), *each("NEW = t.NAME({x}, {y}, out=t.empty(0, dtype={dtype}))", _TWO),
        *each("NEW = t.NAME({x}, {y}, out={x1})".replace("{x1}", "{z}"), _TWO),
        *each("NEW = t.NAME({x}, {d}, out=t.empty(0, dtype={dtype}))",
              "sum mean amax amin prod all any std var logsumexp nansum argmax argmin cumsum cumprod logcumsumexp "
              "softmax log_softmax nanmean"),
        *each("NEW = t.NAME({x}, {d}, out=(t.empty(0, dtype={x}.dtype), t.empty(0, dtype=t.int64)))[0]",
              "max min sort cummax cummin median mode nanmedian"),
        "t.NAME({x}, out={x}[..., :1])".replace("NAME", "neg"), "NEW = t.mm({x}, {z}.mT, out=t.empty(2, 2, dtype={dtype}))",
        "NEW = t.diag({x}, out=t.empty(0, dtype={dtype}))", "NEW = t.triu({x}, 1, out=t.empty(3, dtype={dtype}))",
        "NEW = t.index_select({x}, {d}, {ids}, out=t.empty(0, dtype={dtype}))", "NEW = t.take({x}, {ids}, out=t.empty(0, dtype={dtype}))",
        "NEW = t.masked_select({x}, {mask}, out=t.empty(0, dtype={dtype}))", "NEW = t.nonzero({x}, out=t.empty(0, dtype=t.int64))",
        "NEW = t.hstack([{x}, {z}], out=t.empty(0, dtype={dtype}))", "NEW = t.where({mask}, {x}, {z}, out=t.empty(0, dtype={dtype}))",
        "NEW = t.lerp({x}, {z}, 0.5, out=t.empty(0, dtype={dtype}))", "NEW = t.addcmul({x}, {z}, {z1}, out=t.empty(0, dtype={dtype}))",
        "NEW = t.clamp({x}, {n}, {n1}, out=t.empty(0, dtype={dtype}))", "NEW = t.full(({k},), {n}, out=t.empty(0, dtype={dtype}))",
        "NEW = t.ones({k}, out=t.empty(0, dtype={dtype}))", "NEW = t.outer({x}, {z}, out=t.empty(0, dtype={dtype}))",
        "NEW = t.transpose_copy({x}, {d}, {d1}, out=t.empty(0, dtype={x}.dtype))", "NEW = t.isin({x}, {y}, out=t.empty(0, dtype=t.bool))",
        "NEW = t.bucketize({x}, t.tensor([0.0, 1.0]), out=t.empty(0, dtype=t.int64))", "NEW = t.dot({x}, {z}, out=t.empty((), dtype={dtype}))",
        "NEW = t.kron({x}, {z}, out=t.empty(0, dtype={dtype}))", "NEW = t.diff({x}, out=t.empty(0, dtype={dtype}))",
        "NEW = t.gather({x}, {d}, {wide}, out=t.empty(0, dtype={dtype}))", "NEW = t.scatter({x}, {d}, {wide}, {z}, out=t.empty(0, dtype={x}.dtype))", "NEW = t.linalg.norm({x}, dim={d}, out=t.empty(0, dtype={dtype}))",
        "NEW = t.cumsum({x}, {d}, dtype={dtype}, out=t.empty(0, dtype={dtype}))",
        "NEW = t.nn.functional.leaky_relu({x}, 0.25).abs_()", "NEW = t.polar({x}, {z}, out=t.empty(0, dtype={dtype}))",
    ), must=(is_exact, is_alone, is_distinct)),
    # --- what Python and scripts ask of a tensor
    "asked": Area((
        *each("NEW = {x}.NAME()", "size tolist is_contiguous storage_offset numel dim ndimension nelement element_size "
              "is_floating_point is_complex is_signed is_conj item __len__ __bool__ __float__ __int__ __index__ get_device "
              "is_inference __complex__"),
        *each("NEW = {x}.NAME", "shape ndim itemsize nbytes is_leaf requires_grad output_nr retains_grad is_cpu is_cuda is_sparse names"),
        "NEW = str({x}.detach())", "NEW = repr({x})", "NEW = f'{{{x}}}'", "NEW = {n} in {x}", "NEW = {x}.detach().tolist()",
        "NEW = str({x}.dtype).split('.')[1]", "NEW = [v.shape for v in {x}]", "NEW = len({x})", "NEW = {x}.size({d})", "NEW = {x}.stride({d})",
        "NEW = {x}.is_same_size({z})", "NEW = t.is_same_size({x}, {y})", "NEW = t.is_nonzero({x})", "NEW = t.allclose({x}, {z})",
        "NEW = t.equal({x}, {z})", "NEW = t.can_cast({x}.dtype, {dtype})", "NEW = str(t.promote_types({x}.dtype, {dtype})).split('.')[1]",
        "NEW = str(t.result_type({x}, {n})).split('.')[1]", "NEW = str(t.result_type({x}, {y})).split('.')[1]", "NEW = t.is_complex({x})",
        "NEW = {x}.is_contiguous(memory_format=t.channels_last)", "NEW = t.broadcast_shapes({x}.shape, {y}.shape)",
        "NEW = type({x}.grad_fn).__name__", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.mT)", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])(({x} + 0))", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.clone())",
        "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])(t.empty_like({x}))", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])(({x} * {y}))", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.sum({d}, {keep}))",
        "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])(t.cat([{x}, {x}], {d}))", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.contiguous())", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.to(t.float64))",
        "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.unflatten({d}, (1, -1)))", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])(t.sort({x}, {d})[0])", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.reshape(-1, 1))",
        "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.flip(0))", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.roll(1, 0))", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}[{ids}])", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.softmax({d}))",
        "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])(t.index_select({x}, {d}, {ids}))", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.cumsum({d}))", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])(t.where({mask}, {x}, {y}))",
        "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.expand(2, *{x}.shape).clone())", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.tril())", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])(t.stack([{x}, {x}], {d}))",
        "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.amax({d}, True))", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.repeat({k}, {k1}))", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])(t.nn.functional.pad({x}, (1, 1)))",
        "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])(({x} @ {x}.mT))", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])(t.std({x}, {d}, keepdim=True))", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.gather({d}, {wide}))",
        "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.unsqueeze({d}))", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.narrow({d}, 0, 1))", "NEW = (lambda v: [s for s, n in zip(v.stride(), v.shape) if n > 1 and v.numel()])({x}.scatter({d}, {wide}, {z}))",
    ), must=(is_exact,), exact=True, weight=5),
    "operators": Area((
        *each("NEW = {n} NAME {x}", "+ - * / // % ** < <= == != & | ^ << >>"), *each("NEW = {x} NAME {n}", "+ - * / // % ** < >= & | ^ << >>"),
        *each("NEW = {x} NAME {y}", "+ - * / // % ** < >= & | ^ << >> @"), *each("{x} NAME= {n}", "+ - * / // % ** & | ^ << >>"),
        *each("{x} NAME= {y}", "+ - * / // % ** & | ^"), "NEW = -{x}", "NEW = +{x}", "NEW = ~{x}", "NEW = abs({x})", "NEW = round({x})",
        "NEW = {x} == None", "NEW = {x} != 'a'", "NEW = max({x}.flatten())", "NEW = sum({x})", "NEW = list({x})[0]", "NEW = (*{x},)[-1]",
        "NEW = 2.5 * {x}", "NEW = {x} + True", "NEW = {x} * (1 + 2j)", "NEW = 1j ** {x}", "NEW = {x} @ {x}", "NEW = next(iter({x}))",
        "NEW = {x} + {x}.shape[0]", "NEW = pow({x}, {k})", "NEW = pow({n}, {x})", "NEW = {x} // t.tensor({n})", "NEW = {x} - t.tensor(2.5)",
    ), must=(is_exact,), weight=5),
    "indices": Area((
        "NEW = {x}[{mask}]", "NEW = {x}[..., {ids}]", "NEW = {x}[:, {ids}]", "NEW = {x}[{ids}, ..., {at}]", "NEW = {x}[None, {ids}]",
        "NEW = {x}[{at}, {ids}]", "NEW = {x}[{ids}, :, {ids1}]", "NEW = {x}[:, {ids}, {ids}]", "NEW = {x}[True]", "NEW = {x}[False]",
        "NEW = {x}[t.tensor(True)]", "NEW = {x}[{ids}.bool()]", "NEW = {x}[{ids}.to(t.uint8)]", "NEW = {x}[{ids}[:, None], {ids}]",
        "NEW = {x}[[{at}]]", "NEW = {x}[[[0], [0]]]", "NEW = {x}[t.tensor({at})]", "NEW = {x}[t.tensor({at}), 0]", "NEW = {x}[0, t.tensor([0])]",
        "NEW = {x}[slice({at}, None, {size})]", "NEW = {x}[..., ::{size}]", "NEW = {x}[{k}:{k1}, ...]", "NEW = {x}[t.tensor([[0, -1]])]",
        "NEW = {x}[:, True]", "NEW = {x}[None, True, 0]", "NEW = {x}[{x} > 0, None]", "NEW = {x}[...][None, ..., 0]", "NEW = {x}[{ids}, None]",
        "NEW = {x}[(0, -1), ]", "NEW = {x}[range(1)]", "NEW = {x}[{mask}, ...]", "NEW = {x}[:, {mask}[0]]", "NEW = {x}[[True, False]]",
        "NEW = {x}[t.tensor([], dtype=t.int64)]", "NEW = {x}[1.5]", "NEW = {x}['a']", "NEW = {x}[0:t.tensor(1)]", "NEW = {x}[{ids}.float()]",
        "{x}[{mask}] = {n}", "{x}[{ids}] = {n}", "{x}[..., {ids}] = {n}", "{x}[{ids}] = {x}[{ids}] * 2", "{x}[{mask}] = t.tensor({n}).to({x}.dtype)",
        "{x}[:, {ids}] += {n}", "{x}[{at}] = {x}[{at}].flip(0)", "{x}[None] = {n}", "{x}[True] = {n}", "{x}[False] = {n}", "{x}[..., 0] *= {n}",
        "{x}[{ids}, 0] = {n}", "{x}[t.tensor({at})] = {n}", "{x}[[{at}]] = {n}", "{x}[::{size}] = {n}", "{x}[{at}:] = {x}[{at}:].detach().clone()",
        "{x}.index_put_(({ids},), t.tensor({n}, dtype={x}.dtype), accumulate={keep})", "{x}.index_put_(({mask},), t.tensor({n}, dtype={x}.dtype))",
        "NEW = t.index_put({x}, [{ids}, {ids}], t.tensor({n}, dtype={x}.dtype))", "{x}.masked_fill_({mask}, {n})", "{x}[{x} == {n}] = {n1}",
        "{x}[{ids}] -= {x}[{ids}].detach()", "{x}[...] = {y}", "{x}[{mask}] = {x}[{mask}].detach() + 1", "{x}[{ids}[:0]] = {n}",
    ), wants=(has_dims(1),), must=(is_exact,), exact=True, weight=5),
    "made anew": Area((
        "NEW = t.tensor([{n}, {n1}], dtype={x}.dtype, requires_grad={keep})", "NEW = t.complex(t.tensor([{k}.5, -1.0]), t.tensor([0.25, {size}.0])).requires_grad_()",
        "NEW = t.tensor({n}).requires_grad_({keep})", "NEW = {x}.detach().requires_grad_()", "NEW = {x}.clone().detach()",
        "NEW = t.as_tensor({x})", "NEW = t.tensor({x}.tolist())", "NEW = {x}.to({dtype}, copy=True)", "NEW = {x}.double()", "NEW = {x}.int()",
        "NEW = {x}.bool()", "NEW = {x}.to({y})", "NEW = {x}.type({dtype})", "NEW = t.empty_like({x}).copy_({x})", "NEW = {x}.new_zeros({k}, {size})",
        "NEW = {x}.new_full((2,), {n}, dtype={dtype})", "NEW = t.full((2, {k}), {n}, dtype={dtype})", "NEW = t.tensor([[], []], dtype={dtype})",
        "NEW = t.zeros(2, 0, {k}, dtype={dtype})", "NEW = t.arange({size}.0, -{k}, -0.5, dtype={float})", "NEW = t.from_numpy({x}.detach().numpy().copy())",
        "NEW = t.Tensor({x}.tolist())", "NEW = t.stack(list({x}))", "NEW = {x}.cfloat()", "NEW = {x}.cdouble()", "NEW = {x}.byte()", "NEW = {x}.short()",
        "NEW = {x}.flip(-1)[..., 1:]", "NEW = {x}.T[..., 1:].T", "NEW = {x}.as_strided((2, 2), (0, 1))", "NEW = {x}.mT[..., ::2]",
        "NEW = {x}.expand({size}, *{x}.shape)", "NEW = {x}.diagonal()[None]", "NEW = {x}.unfold(-1, 2, 1)", "NEW = t.empty(0, dtype={dtype})",
        "NEW = {x}.float().contiguous(memory_format=t.channels_last)", "NEW = {x}[None, None].to(memory_format=t.channels_last)", "NEW = {x}.data",
    ), must=(is_exact,), exact=True, weight=5),
    # --- gradients
    "gradients": Area((
        "{x}.abs().sum().backward(retain_graph=True)", "t.view_as_real({x}).sum().backward(retain_graph=True)",
        "{x}.backward(t.ones_like({x}), retain_graph=True)", "({x} * {x}.detach()).real.sum().backward(retain_graph=True)",
        "NEW = t.autograd.grad(({x} ** 3).sum(), {x}, create_graph={keep})[0]",
        "NEW = t.autograd.grad({x}, {x}, t.ones_like({x}) * 2)[0]", "NEW = t.autograd.grad([{x}.sum(), ({x} * 2).sum()], [{x}])[0]",
        "NEW = t.autograd.grad(t.autograd.grad(({x} ** 3).sum(), {x}, create_graph=True)[0].sum(), {x})[0]",
        *each("NEW = t.autograd.grad(t.autograd.grad(t.NAME({x}).sum(), {x}, create_graph=True)[0].sum(), {x}, materialize_grads=True)[0]",
              "exp sin tanh sigmoid erf square reciprocal sqrt log logsumexp_x softmax_x cumprod_x prod var std norm".replace("logsumexp_x softmax_x cumprod_x ", "")),
        *each("NEW = t.autograd.grad(t.NAME({x}, {d}).pow(2).sum(), {x}, create_graph={keep})[0]",
              "softmax log_softmax logsumexp cumsum cumprod prod var std mean sum amax"),
        *each("NEW = t.autograd.grad(t.nn.functional.NAME({x}).pow(2).sum(), {x}, create_graph={keep})[0]",
              "gelu silu mish softplus elu selu hardswish softsign logsigmoid tanhshrink normalize"),
        "{x}.grad = None", "{x}.grad.zero_()", "{x}.grad.mul_(2)", "{x}.retain_grad()", "NEW = {x}.grad", "{x}.requires_grad_({keep})", "NEW = t.autograd.functional.vjp(lambda v: v * v, {x})[1]",
        "NEW = t.autograd.functional.hvp(lambda v: (v ** 3).sum(), {x}, {z})[1]", "NEW = t.autograd.functional.hessian(lambda v: v.exp().sum(), {x})",
        "{x}.register_hook(lambda g: g * 2)", "{x}.detach_()", "NEW = t.utils.checkpoint.checkpoint(lambda v: v.sin() * v, {x}, use_reentrant=False)",
    ), wants=(is_inexact, has_elements), must=(is_exact,), weight=4),
    # --- layers and cells, with weights
    "cells": Area((
        f"NEW = t.rnn_tanh_cell({{x}}, {_STATE}, {_SEQUENCE})", f"NEW = t.rnn_relu_cell({{x}}, {_STATE}, {_SEQUENCE})",
        f"NEW = t.lstm_cell({{x}}, ({_STATE}, {_STATE}), {_GATES})[{{at}}]", f"NEW = t.gru_cell({{x}}, {_STATE}, {_THREE})",
    ), wants=(is_rank(2), is_float, has_elements, is_finite), must=(is_exact,), weight=1),
    "recurrent": Area((
        f"NEW = t.lstm({{x}}, [{_LAYERS}, {_LAYERS}], [{_GATES}], False, 1, 0.0, False, False, False)[0]",
        f"NEW = t.gru({{x}}, {_LAYERS}, [{_THREE}], False, 1, 0.0, False, False, False)[0]",
        f"NEW = t.rnn_tanh({{x}}, {_LAYERS}, [{_SEQUENCE}], False, 1, 0.0, False, False, False)[1]",
        f"NEW = t.rnn_relu({{x}}, {_LAYERS}, [{_SEQUENCE}], False, 1, 0.0, False, False, False)[0]",
        f"NEW = t.nn.functional.multi_head_attention_forward({{x}}, {{x}}, {{x}}, {_LAST}, 1, {_ramp('3 * ' + _LAST, _LAST)}, "
        f"t.zeros(3 * {_LAST}, dtype={{x}}.dtype), None, None, False, 0.0, {_ramp(_LAST, _LAST)}, None, training=False)[0]",
        "NEW = t.nn.functional.scaled_dot_product_attention({x}, {z}, {z1}, is_causal={keep}, scale=0.5)",
        "NEW = t.nn.functional.scaled_dot_product_attention({x}, {z}, {z1}, attn_mask={x} @ {z}.mT > 0)",
        "NEW = t.nn.utils.rnn.pack_padded_sequence({x}, t.tensor([{x}.shape[0]] * {x}.shape[1])).data",
        "NEW = t.nn.utils.rnn.pad_packed_sequence(t.nn.utils.rnn.pack_padded_sequence({x}, [{size}] * {x}.shape[1], enforce_sorted=False), batch_first={keep})[0]",
        "NEW = t.nn.utils.rnn.pad_sequence([{x}, {x}[:{size}]], batch_first={keep}, padding_value={n})",
        "NEW = t.nn.utils.rnn.pack_sequence([{x}, {x}[:1]]).batch_sizes", "NEW = t.nn.utils.rnn.unpad_sequence({x}, t.tensor([{size}] * {x}.shape[1]))[0]",
    ), wants=(is_rank(3), is_float, has_elements, is_finite), must=(is_exact,), weight=2),
    "weighted layers": Area((
        *each("NEW = t.nn.functional.NAME({x}, " + _ramp("2", _IN, "2") + ", t.ones(2, dtype={x}.dtype), stride={size}, padding={k}, dilation={size1})", "conv1d"),
        "NEW = t.nn.functional.conv1d({x}, " + _ramp(_IN, "1", "2") + f", groups={_IN}, padding='same')",
        "NEW = t.nn.functional.conv_transpose1d({x}, " + _ramp(_IN, "2", "2") + ", stride={size}, padding={k}, output_padding={k1}, dilation={size1})",
        "NEW = t.nn.functional.conv_transpose1d({x}, " + _ramp(_IN, "1", "3") + f", groups={_IN})",
        "NEW = t.nn.functional.max_pool1d({x}, {size}, stride={size1}, padding={k}, ceil_mode={keep})",
        "NEW = t.nn.functional.max_pool1d({x}, {size}, dilation={size1}, return_indices=True)[1]",
        "NEW = t.nn.functional.avg_pool1d({x}, {size}, stride={size1}, padding={k}, ceil_mode={keep}, count_include_pad={keep1})",
        "NEW = t.nn.functional.max_unpool1d(*t.nn.functional.max_pool1d({x}, 2, return_indices=True), 2)",
        "NEW = t.nn.functional.adaptive_max_pool1d({x}, {size}, return_indices=True)[0]", "NEW = t.nn.functional.lp_pool1d({x}, 2, {size}, ceil_mode={keep})",
        "NEW = t.nn.functional.batch_norm({x}, t.zeros(" + _IN + ", dtype={x}.dtype), t.ones(" + _IN + ", dtype={x}.dtype), training={keep}, momentum=0.5)",
        "NEW = t.nn.functional.batch_norm({x}, None, None, training=True)", "NEW = t.nn.functional.instance_norm({x}, eps=0.5)",
        "NEW = t.nn.functional.layer_norm({x}, {x}.shape[-2:], " + _ramp("{x}.shape[-2]", _LAST) + ")",
        "NEW = t.nn.functional.group_norm({x}, {size}, t.ones(" + _IN + ", dtype={x}.dtype))", "NEW = t.nn.functional.linear({x}, " + _ramp("2", _LAST) + ", t.ones(2, dtype={x}.dtype))",
        "NEW = t.nn.functional.bilinear({x}, {z}, " + _ramp("2", _LAST, _LAST) + ")", "NEW = t.nn.functional.prelu({x}, " + _ramp(_IN) + ")",
        "NEW = t.nn.BatchNorm1d(" + _IN + ").to({x}.dtype)({x})", "NEW = t.nn.LayerNorm({x}.shape[-1], dtype={x}.dtype)({x})", "NEW = t.nn.Flatten({d}, {d1})({x})",
        "NEW = t.nn.Unflatten({d}, (1, -1))({x})", "NEW = t.nn.ConstantPad1d(({k}, {step}), {n})({x})", "NEW = t.nn.ReflectionPad1d({k})({x})",
        "NEW = t.nn.ReplicationPad1d(({k}, {k1}))({x})", "NEW = t.nn.CircularPad1d({k})({x})", "NEW = t.nn.Upsample(scale_factor={size}, mode='linear')({x})",
        "NEW = t.nn.Softmax({d})({x})", "NEW = t.nn.GLU({d})({x})", "NEW = t.nn.CosineSimilarity({d})({x}, {z})", "NEW = t.nn.PairwiseDistance(keepdim={keep})({x}, {z})",
        "NEW = t.nn.Dropout(0.0)({x})", "NEW = t.nn.Dropout(1.0)({x})", "NEW = t.nn.functional.dropout({x}, 0.5, training=False)", "NEW = t.nn.Identity()({x})",
        "NEW = t.nn.functional.fractional_max_pool2d({x}, 2, output_size=1, _random_samples=t.full(({x}.shape[0], 1, 2), 0.5, dtype={x}.dtype))",
        "NEW = t.nn.functional.gumbel_softmax({x}, hard=True).sum({d})", "NEW = t.nn.functional.embedding(t.tensor([[0, {at}]]), {x}[0], padding_idx=0)",
        "NEW = t.nn.functional.embedding_bag(t.tensor([0, 0, {at}]), {x}[0], t.tensor([0, 2]), mode={bag})",
        "NEW = t.nn.functional.embedding_bag(t.tensor([[0, {at}]]), {x}[0], per_sample_weights=t.ones(1, 2, dtype={x}.dtype), mode='sum')",
        "NEW = t.segment_reduce({x}, {whole}, lengths=t.tensor([1, {x}.shape[0] - 1]))", "NEW = t.segment_reduce({x}, {whole}, offsets=t.tensor([0, {x}.shape[0]]), axis=0)",
        "NEW = t.segment_reduce({x}, {whole}, lengths=t.tensor([0, {x}.shape[0]]), initial={n}, unsafe={keep})",
        "NEW = t.segment_reduce({x}, {whole}, lengths=t.full(({x}.shape[0], 1), {x}.shape[1]), axis=1)",
    ), wants=(is_rank(3), is_float, has_elements, is_finite), must=(is_exact, is_distinct), weight=5),
    "planes": Area((
        "NEW = t.nn.functional.conv2d({x}, " + _ramp("2", _IN, "1", "2") + ", stride=({size}, 1), padding=({k}, {k1}), dilation={size1})",
        "NEW = t.nn.functional.conv_transpose2d({x}, " + _ramp(_IN, "2", "2", "1") + ", stride={size}, output_padding={k})",
        "NEW = t.nn.functional.max_pool2d({x}, {size}, {size1}, {k}, ceil_mode={keep})", "NEW = t.nn.functional.max_pool2d({x}, (1, {size}), return_indices=True)[1]",
        "NEW = t.nn.functional.avg_pool2d({x}, {size}, {size1}, {k}, ceil_mode={keep}, divisor_override={size2})", "NEW = t.nn.functional.adaptive_max_pool2d({x}, ({size}, None))",
        "NEW = t.nn.functional.lp_pool2d({x}, 3, {size})", "NEW = t.nn.functional.pad({x}, ({k}, {k1}, {k2}, 0), mode={mode})", "NEW = t.nn.BatchNorm2d(" + _IN + ").to({x}.dtype)({x})",
        "NEW = t.nn.functional.interpolate({x}, size=({size}, {size1}), mode={scale})", "NEW = t.nn.functional.unfold({x}, {size}, dilation={size1}, padding={k}, stride={size2})",
        "NEW = t.nn.InstanceNorm2d(" + _IN + ").to({x}.dtype)({x})", "NEW = t.nn.functional.pixel_shuffle({x}, {size})", "NEW = t.nn.functional.grid_sample({x}, {x}[:, :1].permute(0, 2, 3, 1).expand(-1, -1, -1, 2), padding_mode={border}, mode={near}, align_corners={keep})",
        "NEW = t.nn.functional.conv3d({x}[None], " + _ramp("1", "{x}.shape[0]", "1", "1", "1") + ")", "NEW = t.nn.ZeroPad2d(({step}, {k}, {k1}, {step1}))({x})", "NEW = t.nn.functional.avg_pool3d({x}, {size}, 1)",
        "NEW = t.nn.functional.max_unpool2d(*t.nn.functional.max_pool2d({x}, {size}, return_indices=True), {size})", "NEW = t.channel_shuffle({x}, {size})", "NEW = t.nn.functional.adaptive_avg_pool3d({x}, {size})",
    ), wants=(is_rank(4), is_float, has_elements, is_finite), must=(is_exact, is_distinct), weight=2),
    "more losses": Area((
        "NEW = t.nn.functional.nll_loss({x}, " + _IDS + ", weight=" + _ramp(_IN) + ", ignore_index={k}, reduction={mean})",
        "NEW = t.nn.functional.cross_entropy({x}, " + _IDS + ", ignore_index={k}, label_smoothing=0.5, reduction={mean})",
        "NEW = t.nn.functional.cross_entropy({x}, {z}.softmax(1), weight=" + _ramp(_IN) + ", reduction={mean})",
        "NEW = t.nn.functional.multilabel_margin_loss({x}, t.full_like({x}, -1).long(), reduction={mean})",
        "NEW = t.nn.functional.ctc_loss({x}[:, None].log_softmax(-1), t.tensor([[0]]), [{x}.shape[0]], [{k}])",
        "NEW = t.nn.functional.ctc_loss({x}[:, None].log_softmax(-1), t.tensor([[1]]), ({x}.shape[0],), (1,), reduction={mean}, zero_infinity={keep})",
        "NEW = t.nn.functional.triplet_margin_with_distance_loss({x}, {z}, {z1}, margin={size}, swap={keep})", "NEW = t.nn.functional.kl_div({x}, {z}, log_target={keep}, reduction='batchmean')",
        "NEW = t.nn.functional.huber_loss({x}, {z}, delta=0.5, reduction={mean})", "NEW = t.nn.functional.smooth_l1_loss({x}, {z}, beta={k}.5)", "NEW = t.nn.functional.mse_loss({x}, {y})",
        "NEW = t.nn.functional.binary_cross_entropy_with_logits({x}, {z}, pos_weight={z1}, reduction={mean})", "NEW = t.nn.functional.binary_cross_entropy({x}.sigmoid(), {z}.sigmoid(), weight={z1}, reduction={mean})",
        "NEW = t.nn.functional.poisson_nll_loss({x}, {z}.abs(), log_input={keep}, full={keep1})", "NEW = t.nn.functional.gaussian_nll_loss({x}, {z}, {z}.abs() + 1, full={keep}, reduction={mean})",
        "NEW = t.nn.functional.multi_margin_loss({x}, " + _IDS + ", p={size}, margin=0.5, reduction={mean})", "NEW = t.nn.CrossEntropyLoss()({x}, " + _IDS + ")", "NEW = t.nn.NLLLoss(reduction={mean})({x}, " + _IDS + ")",
        "NEW = t.nn.functional.cosine_embedding_loss({x}, {z}, -t.ones({x}.shape[0]), margin=0.25, reduction={mean})", "NEW = t.nn.functional.l1_loss({x}, {y}, reduction={mean})", "NEW = t.nn.functional.soft_margin_loss({x}, {z}.sign())",
        "NEW = t.nn.functional.hinge_embedding_loss({x}, {z}.sign(), margin=0.5)",
    ), wants=(is_rank(2), is_float, has_elements, is_finite), must=(is_exact,), weight=2),
    # --- optimizers, distributions, functions of functions
    "steps of optimizers": Area((
        *each("t.optim.NAME([{x}], lr=0.5).step()", "SGD Adam AdamW Adagrad RMSprop Adadelta Adamax NAdam RAdam Rprop ASGD Adafactor"),
        "t.optim.SGD([{x}], lr=0.5, momentum=0.5, nesterov={keep}, weight_decay=0.25).step()", "t.optim.Adam([{x}], lr=0.25, amsgrad={keep}, maximize={keep1}).step()",
        "t.optim.RMSprop([{x}], lr=0.25, centered={keep}, momentum=0.5).step()", "t.optim.LBFGS([{x}]).step(lambda: ({x} * {x}).sum())",
        "t.optim.SGD([{x}], lr=0.5).zero_grad(set_to_none={keep})", "NEW = t.nn.utils.clip_grad_norm_([{x}], 0.5, norm_type={p})", "t.nn.utils.clip_grad_value_({x}, 0.25)",
        "({x} * {x}).sum().backward()", "({x} ** 3).sum().backward()", "NEW = t.nn.utils.parameters_to_vector([{x}, {x}])", "t.nn.utils.vector_to_parameters({x}.flatten() * 2, [{x}])",
        "NEW = t.nn.utils.get_total_norm([{x}])",
    ), wants=(has_elements, is_finite), must=(is_exact, is_leaf), weight=3),
    "distributions": Area((
        *each("NEW = t.distributions.NAME({x}, {x}.abs() + 0.5).log_prob({z})", "Normal Laplace Cauchy Gumbel"), *each("NEW = t.distributions.NAME({x}, {x}.abs() + 0.5).entropy()", "Normal Laplace Cauchy Gumbel"),
        *each("NEW = t.distributions.NAME({x}.abs() + 0.5, {z}.abs() + 1).log_prob({z1}.sigmoid())", "Beta Gamma Weibull Kumaraswamy Pareto InverseGamma FisherSnedecor"),
        "NEW = t.distributions.Categorical(logits={x}).entropy()", "NEW = t.distributions.Categorical(logits={x}).log_prob(t.tensor(0))", "NEW = t.distributions.Bernoulli(logits={x}).log_prob({z}.sign().abs())",
        "NEW = t.distributions.Uniform({x}, {x} + 1).cdf({z})", "NEW = t.distributions.Exponential({x}.abs() + 1).icdf({z}.sigmoid())", "NEW = t.distributions.Poisson({x}.abs()).log_prob({z}.abs().floor())",
        "NEW = t.distributions.kl_divergence(t.distributions.Normal({x}, 1.0), t.distributions.Normal({z}, 2.0))", "NEW = t.distributions.Dirichlet({x}.abs() + 1).entropy()", "NEW = t.distributions.StudentT({x}.abs() + 3).variance",
        "NEW = t.distributions.Geometric({x}.sigmoid()).mean", "NEW = t.distributions.LogNormal({x}, 1.0).log_prob({z}.exp())", "NEW = t.distributions.OneHotCategorical(logits={x}).mean", "NEW = t.distributions.MultivariateNormal({x}, t.eye({x}.shape[-1], dtype={x}.dtype)).log_prob({z})",
        "NEW = t.distributions.Independent(t.distributions.Normal({x}, 1.0), 1).log_prob({z})", "NEW = t.distributions.Binomial(3, logits={x}).log_prob({z}.sign().abs())", "NEW = t.distributions.HalfNormal({x}.abs() + 1).cdf({z}.abs())", "NEW = t.distributions.VonMises({x}, {z}.abs() + 1).log_prob({z1})",
    ), wants=(is_float, is_finite, has_elements, has_dims(1)), must=(is_exact, is_real), weight=1),
    "mapped": Area((
        *each("NEW = t.vmap(t.NAME)({x})", _ONE), *each("NEW = t.vmap(t.NAME)({x}, {z})", _TWO), *each("NEW = t.vmap(lambda v: t.NAME(v, -1), in_dims={d})({x})", _FOLD + " softmax cumsum cumprod argsort"),
        *each("NEW = t.vmap(lambda v: v.NAME(), in_dims={d}, out_dims=-1)({x})", "t mT flatten clone contiguous squeeze tril diagonal"), "NEW = t.vmap(lambda v: v[0], in_dims={d})({x})", "NEW = t.vmap(lambda v, w: v @ w.mT)({x}, {z})",
        "NEW = t.vmap(lambda v: t.cat([v, v]))({x})", "NEW = t.vmap(lambda v: t.where(v > 0, v, 0))({x})", "NEW = t.vmap(t.vmap(lambda v: v * 2))({x})", "NEW = t.vmap(lambda v: v.expand(2, *v.shape))({x})", "NEW = t.vmap(lambda v: t.stack([v, v], -1), chunk_size={size})({x})",
        "NEW = t.vmap(lambda v, w: v + w, in_dims=({d}, None))({x}, {z})", "NEW = t.vmap(lambda v: t.sort(v, -1)[0])({x})", "NEW = t.vmap(lambda v: v.reshape(-1))({x})", "NEW = t.func.vmap(lambda v: t.nn.functional.pad(v, (1, 0)))({x})",
        "NEW = t.vmap(lambda v: v.norm(dim=-1))({x})", "NEW = t.vmap(lambda v: t.einsum('i,i->', v, v))({x})", "NEW = t.vmap(lambda v: v.unsqueeze(0).sum(-1))({x})", "NEW = t.vmap(lambda v: v.index_select(0, t.tensor([0])))({x})",
    ), wants=(has_dims(1), has_elements), must=(is_exact, is_distinct), weight=2),
    # --- more of what newer has
    "segments": Area((
        "NEW = t.view_as_real_copy({x})", "NEW = t.view_as_complex_copy({x})", "NEW = t.view_as_complex({x})", "NEW = t.imag({x})", "NEW = t.real({x}) + t.imag({x})", "NEW = {x}.H",
        "NEW = t.einsum('...ij->...ji', {x}) * 1j", "NEW = {x}.index_add(0, t.tensor([0]), {x}[:1], alpha=2)", "NEW = {x}.scatter({d}, {wide}, {n}, reduce='multiply')", "NEW = {x}.scatter_add({d}, {wide}, {z})", "NEW = {x}.masked_fill({mask}, {n})",
        "NEW = t.repeat_interleave({x}, {k}, {d})", "NEW = t.tril({x}, {step})", "NEW = t.trace({x})", "NEW = t.diff({x}, dim={d})", "NEW = t.roll({x}, {step}, {d})", "NEW = t.cumprod({x}, {d})", "NEW = t.take({x}, {ids})", "{x}.fill_({n})", "{x}.index_fill_({d}, {ids}, {n})",
        "NEW = t.outer({x}.flatten(), {z}.flatten())", "NEW = t.tensordot({x}, {z}, {k})", "NEW = t.addmm({x}, {x}, {z})", "NEW = {x}.sum() * {x}", "NEW = t.unique({x}.real)", "NEW = t.cat([{x}, {z}], {d})", "NEW = t.stft({x}.flatten(), 2, return_complex=True, window=t.ones(2))",
    ), wants=(is_complex, has_elements), must=(is_exact,), exact=True, weight=2),
    "narrow numbers": Area((
        *each("NEW = {x}.NAME({d})", "sum cumsum prod cumprod argmax argsort any all"), "NEW = {x}.view(t.uint8)", "NEW = {x} * 100", "NEW = {x} + 250", "NEW = {x} - 300", "NEW = -{x}", "NEW = {x} << {k}", "NEW = {x} >> {size}", "NEW = {x} ** {k}",
        "NEW = {x} @ {z}.mT", "NEW = t.mm({x}, {z}.mT)", "NEW = t.dot({x}.flatten(), {z}.flatten())", "NEW = t.bincount({x}, weights={x}.double())", "NEW = t.bincount({x}, minlength=-1)", "NEW = {x}.float().div({n})", "NEW = t.bitwise_left_shift({x}, {y})", "NEW = {x}.median()",
        "NEW = {x}.clamp({n}, {n1})", "NEW = t.floor_divide({x}, {n})", "NEW = t.true_divide({x}, {y})", "NEW = {x} / {n}", "NEW = t.sum({x}, dtype=t.uint8)", "NEW = t.lerp({x}, {z}, 1)", "NEW = t.addcmul({x}, {z}, {z1})", "NEW = t.addcdiv({x}, {z}, {z1})", "NEW = t.sort({x}, {d})[0]",
        "NEW = t.histc({x}, 3)", "NEW = t.searchsorted({x}.sort()[0], {x})", "NEW = t.bucketize({x}, t.tensor([1, 3]), out_int32={keep}, right={keep1})", "NEW = t.searchsorted(t.tensor([1, 3, 5]), {x}, side='right')", "NEW = {x}.pow(-1)", "NEW = t.nn.functional.one_hot({x}.long(), {size})",
        "NEW = t.nn.functional.conv1d({x}, {z})", "NEW = t.nn.functional.max_pool1d({x}, 2)", "NEW = t.nn.functional.avg_pool1d({x}, 2)", "NEW = t.nn.functional.pad({x}, (1, 1), value={n})", "NEW = t.nn.functional.interpolate({x}, scale_factor=2)", "NEW = t.nn.functional.relu6({x})",
        "NEW = t.mean({x}, dtype=t.float64)", "NEW = {x}.std()", "NEW = t.softmax({x}, {d})", "NEW = t.softmax({x}, {d}, dtype=t.float32)", "NEW = t.cov({x})", "NEW = t.var({x})", "NEW = t.norm({x})", "NEW = t.nn.functional.threshold({x}, {n}, {n1})", "NEW = t.special.xlogy({x}, {y})",
    ), wants=(is_whole,), must=(is_exact, is_distinct), exact=True, weight=3),
}  # fmt: skip
