"""Recurrent layers and cells."""

from __future__ import annotations

import math
import warnings
from typing import Any

from tilegrad.autograd.rules import recurrent
from tilegrad.autograd.rules.creation import empty, zeros
from tilegrad.autograd.rules.index import index_select
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.memory import A_TENSOR, refuse_beyond_memory
from tilegrad.nn import init
from tilegrad.nn.modules.module import Module
from tilegrad.nn.parameter import Parameter
from tilegrad.nn.utils.rnn import PackedSequence

_FUNCTIONS = {
    "LSTM": (recurrent.lstm, 4),
    "GRU": (recurrent.gru, 3),
    "RNN_TANH": (recurrent.rnn_tanh, 1),
    "RNN_RELU": (recurrent.rnn_relu, 1),
}


class RNNBase(Module):
    """What recurrent layers share: weights by layer and direction, checks, the call.

    Args:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".
        input_size, hidden_size: features of the input and of a state.
        num_layers: layers, each over the output of the one before.
        bias: whether to add b_ih and b_hh.
        batch_first: batches are (batch, steps, features) instead of (steps, batch, features).
        dropout: share of the output of all layers but the last that training drops.
        bidirectional: each layer also runs from the last step to the first; outputs stand side by side.
        proj_size: of an LSTM: states are projected to so many features.

    Attributes:
        weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_hr_l0, with ``_reverse`` for the
        other direction, and so on for further layers; uniform in +-1 / sqrt(hidden_size) at first.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        _check(input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        if mode not in _FUNCTIONS:
            raise ValueError("Unrecognized RNN mode: " + mode)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._all_weights: list[list[str]] = []
        rows, state = _FUNCTIONS[mode][1] * hidden_size, proj_size or hidden_size
        refuse_beyond_memory(mode, num_layers, (2 + 2 * bool(bias)) * A_TENSOR)
        for layer in range(num_layers):
            columns = state * (1 + bidirectional) if layer else input_size
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (rows, columns), "weight_hh": (rows, state)
            }  # fmt: skip
            if bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for side in ("", "_reverse")[: 1 + bidirectional]:
                names = {f"{name}_l{layer}{side}": shape for name, shape in shapes.items()}
                for name, shape in names.items():
                    made = Parameter(empty(shape, device=device, dtype=dtype))
                    self.register_parameter(name, made)
                self._all_weights.append(list(names))
        self.reset_parameters()

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Parameter]:
        return [getattr(self, name) for name in self._flat_weights_names]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of every layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def flatten_parameters(self) -> None:
        """Nothing: weights are used as they lie."""

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Raise ValueError for another dtype, RuntimeError for other sizes than the weights'."""
        kind = self._flat_weights[0].dtype
        if input.dtype is not kind:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({kind}). Convert "
                f"input: input.to({kind}), or convert model: model.to({input.dtype})"
            )
        dims = 2 if batch_sizes is not None else 3
        if input.ndim != dims:
            raise RuntimeError(f"input must have {dims} dimensions, got {input.ndim}")
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got "
                f"{input.shape[-1]}"
            )

    def get_expected_hidden_size(
        self, input: Tensor, batch_sizes: Tensor | None
    ) -> tuple[int, int, int]:
        """The shape of states for this input."""
        if batch_sizes is not None:
            batch = int(batch_sizes[0])
        else:
            batch = input.shape[0 if self.batch_first else 1]
        return self.num_layers * (1 + self.bidirectional), batch, self.proj_size or self.hidden_size

    def get_expected_cell_size(
        self, input: Tensor, batch_sizes: Tensor | None
    ) -> tuple[int, int, int]:
        """The shape of an LSTM's cells for this input."""
        return *self.get_expected_hidden_size(input, batch_sizes)[:2], self.hidden_size

    def check_hidden_size(
        self,
        hx: Tensor,
        expected_hidden_size: tuple[int, int, int],
        msg: str = "Expected hidden size {}, got {}",
    ) -> None:
        """Raise RuntimeError for states of another shape."""
        if tuple(hx.shape) != tuple(expected_hidden_size):
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.shape)))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """All checks of a call."""
        self.check_input(input, batch_sizes)
        expected = self.get_expected_hidden_size(input, batch_sizes)
        if self.mode != "LSTM":
            self.check_hidden_size(hidden, expected)
            return
        self.check_hidden_size(hidden[0], expected, "Expected hidden[0] size {}, got {}")
        cells = self.get_expected_cell_size(input, batch_sizes)
        self.check_hidden_size(hidden[1], cells, "Expected hidden[1] size {}, got {}")

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """States with the batch in another order."""
        if permutation is None:
            return hx
        if isinstance(hx, tuple):
            return tuple([index_select(h, 1, permutation) for h in hx])
        return index_select(hx, 1, permutation)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """(output, states at the end, of an LSTM also cells: ``(output, (h_n, c_n))``).

        Args:
            input: (steps, batch, features), with ``batch_first`` (batch, steps, features), without a
                batch (steps, features), or a PackedSequence. hx: states at the beginning, zeros if None.
        """
        if isinstance(input, PackedSequence):
            data, sizes, order, back = input
            given = self._first(data, sizes, self.permute_hidden(hx, order))
            out, last = self._run(data, sizes, given)
            return PackedSequence(out, sizes, order, back), self.permute_hidden(last, back)
        if input.ndim not in (2, 3):
            raise ValueError(
                f"{self._get_name()}: Expected input to be 2D or 3D, got {input.ndim}D instead"
            )
        single = input.ndim == 2
        if hx is not None:
            self._check_dims(hx, input.ndim)
        if single:
            input = input.unsqueeze(0 if self.batch_first else 1)
            if hx is not None:
                hx = tuple([h.unsqueeze(1) for h in hx]) if self.mode == "LSTM" else hx.unsqueeze(1)
        out, last = self._run(input, None, self._first(input, None, hx))
        if not single:
            return out, last
        squeezed = tuple([h.squeeze(1) for h in last]) if self.mode == "LSTM" else last.squeeze(1)
        return out.squeeze(0 if self.batch_first else 1), squeezed

    def _first(self, input: Tensor, sizes: Tensor | None, hx: Any) -> Any:
        """The states at the beginning, checked."""
        if hx is None:
            shapes = [self.get_expected_hidden_size(input, sizes)]
            if self.mode == "LSTM":
                shapes.append(self.get_expected_cell_size(input, sizes))
            made = tuple([zeros(shape, dtype=input.dtype, device=input.device) for shape in shapes])
            hx = made if self.mode == "LSTM" else made[0]
        elif self.mode == "LSTM":
            hx = tuple(hx)
        self.check_forward_args(input, hx, sizes)
        return hx

    def _check_dims(self, hx: Any, dims: int) -> None:
        kind = "unbatched 2-D" if dims == 2 else "batched 3-D"
        if self.mode == "LSTM":
            if hx[0].ndim != dims or hx[1].ndim != dims:
                raise RuntimeError(
                    f"For {kind} input, hx and cx should also be {dims}-D but got "
                    f"({hx[0].ndim}-D, {hx[1].ndim}-D) tensors"
                )
        elif hx.ndim != dims:
            raise RuntimeError(
                f"For {kind} input, hx should also be {dims}-D but got {hx.ndim}-D tensor"
            )

    def _run(self, input: Tensor, sizes: Tensor | None, hx: Any) -> tuple[Tensor, Any]:
        packed = () if sizes is None else (sizes,)
        last_args = (self.batch_first,) if sizes is None else ()
        function = _FUNCTIONS[self.mode][0]
        out, *last = function(
            input, *packed, hx, self._flat_weights, self.bias, self.num_layers, self.dropout,
            self.training, self.bidirectional, *last_args,
        )  # fmt: skip
        return out, tuple(last) if self.mode == "LSTM" else last[0]

    def extra_repr(self) -> str:
        usual = {
            "proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0,
            "bidirectional": False,
        }  # fmt: skip
        given = [f"{k}={getattr(self, k)}" for k, v in usual.items() if getattr(self, k) != v]
        return ", ".join([str(self.input_size), str(self.hidden_size), *given])


def _check(
    input_size: Any, hidden_size: Any, num_layers: Any, bias: Any, batch_first: Any, dropout: Any,
    proj_size: Any,
) -> None:  # fmt: skip
    """Refuse arguments of a recurrent layer, with PyTorch's exceptions."""
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element "
            "being zeroed"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            f"dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
            f"expects num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
            stacklevel=4,
        )
    for name, flag in (("bias", bias), ("batch_first", batch_first)):
        if not isinstance(flag, bool):
            raise TypeError(f"{name} should be of type bool, got: {type(flag).__name__}")
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(size, int):
            raise TypeError(f"{name} should be of type int, got: {type(size).__name__}")
        if size <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


class RNN(RNNBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh) at every step, or ReLU by ``nonlinearity="relu"``.

    Arguments as :class:`RNNBase`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        **kwargs: Any,
    ):
        _refuse_projection(kwargs)
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(
            "RNN_" + nonlinearity.upper(), input_size, hidden_size, num_layers, bias, batch_first,
            dropout, bidirectional, device=device, dtype=dtype, **kwargs,
        )  # fmt: skip
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter & Schmidhuber 1997): gates i, f, g, o, then
    c' = f c + i g and h' = o tanh(c').

    Arguments as :class:`RNNBase`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            proj_size, device, dtype,
        )  # fmt: skip


class GRU(RNNBase):
    """Gated recurrent units (Cho et al. 2014): gates r, z, n = tanh(W_in x + b_in + r (W_hn h + b_hn)),
    then h' = (1 - z) n + z h.

    Arguments as :class:`RNNBase`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        **kwargs: Any,
    ):
        _refuse_projection(kwargs)
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            device=device, dtype=dtype, **kwargs,
        )  # fmt: skip


def _refuse_projection(given: dict[str, Any]) -> None:
    if "proj_size" in given:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")


class RNNCellBase(Module):
    """One step of a recurrent layer, of ``num_chunks`` gates.

    Attributes:
        weight_ih: (num_chunks hidden_size, input_size); weight_hh: (num_chunks hidden_size,
            hidden_size); bias_ih, bias_hh: (num_chunks hidden_size,) or None.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        how = {"device": device, "dtype": dtype}
        self.weight_ih = Parameter(empty((rows, input_size), **how))
        self.weight_hh = Parameter(empty((rows, hidden_size), **how))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty(rows, **how)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _ready(self, input: Tensor, *hx: Tensor | None, names: tuple[str, ...]) -> list[Tensor]:
        """The states before the step: zeros where there are none."""
        if input.ndim not in (1, 2):
            raise ValueError(
                f"{self._get_name()}: Expected input to be 1D or 2D, got {input.ndim}D instead"
            )
        found = []
        for name, h in zip(names, hx, strict=True):
            if h is None:
                shape = (*input.shape[:-1], self.hidden_size)
                h = zeros(shape, dtype=input.dtype, device=input.device)
            elif h.ndim not in (1, 2):
                raise ValueError(
                    f"{self._get_name()}: Expected {name} to be 1D or 2D, got {h.ndim}D instead"
                )
            found.append(h)
        return found

    @property
    def _weights(self) -> tuple[Any, ...]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if not self.bias:
            text += f", bias={self.bias}"
        kind = getattr(self, "nonlinearity", "tanh")
        return text if kind == "tanh" else f"{text}, nonlinearity={kind}"


class RNNCell(RNNCellBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or ReLU by ``nonlinearity="relu"``."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        (h,) = self._ready(input, hx, names=("hidden",))
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        tanh = self.nonlinearity == "tanh"
        function = recurrent.rnn_tanh_cell if tanh else recurrent.rnn_relu_cell
        return function(input, h, *self._weights)


class LSTMCell(RNNCellBase):
    """One step of an :class:`LSTM`: (state, cell)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        given = (None, None) if hx is None else tuple(hx)
        ready = self._ready(input, *given, names=("hx[0]", "hx[1]"))
        return recurrent.lstm_cell(input, ready, *self._weights)


class GRUCell(RNNCellBase):
    """One step of a :class:`GRU`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        (h,) = self._ready(input, hx, names=("hidden",))
        return recurrent.gru_cell(input, h, *self._weights)
