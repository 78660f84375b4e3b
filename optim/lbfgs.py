"""L-BFGS: quasi-Newton steps from the last changes of the gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tilegrad.autograd.functions import cat, zeros
from tilegrad.autograd.mode import enable_grad, no_grad
from tilegrad.autograd.tensor import Tensor
from tilegrad.optim.line_search import strong_wolfe
from tilegrad.optim.optimizer import Group, Optimizer
from tilegrad.optim.options import check_rate

_KEPT = ("d", "t", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad", "prev_loss")


@dataclass
class _Point:
    """Where a step is: the loss, the gradient as one vector, evaluations so far."""

    loss: float
    grad: Tensor
    calls: int = 1


class LBFGS(Optimizer):
    """The limited-memory BFGS method (Liu & Nocedal 1989), for one group of parameters.

    Args:
        lr: learning rate.
        max_iter, max_eval: iterations and evaluations of a step at most (5/4 as many, if None).
        tolerance_grad, tolerance_change: end where gradient, or loss and step, are smaller.
        history_size: changes that are kept.
        line_search_fn: None, or ``"strong_wolfe"``.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        options = {
            "lr": lr, "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
            "history_size": history_size, "line_search_fn": line_search_fn,
        }  # fmt: skip
        check_rate(options)
        super().__init__(params, options)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params: list[Tensor] = self.param_groups[0]["params"]

    @no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Iterate; ``closure`` evaluates the model anew, with gradients. Returns its first result."""
        group, state = self.param_groups[0], self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first = enable_grad()(closure)()
        state["func_evals"] += 1
        point = _Point(_number(first), self._gathered())
        if self._flat(point, group):
            return first
        now: dict[str, Any] = {name: state.get(name) for name in _KEPT}
        done = 0
        while done < group["max_iter"]:
            done += 1
            state["n_iter"] += 1
            _turn(now, point.grad, state, group["history_size"])
            if now["prev_flat_grad"] is None:
                now["prev_flat_grad"] = point.grad.clone()
            else:
                now["prev_flat_grad"].copy_(point.grad)
            now["prev_loss"] = point.loss
            now["t"] = float(group["lr"])
            if state["n_iter"] == 1:
                now["t"] *= (1.0 / point.grad.abs().sum()).clamp(max=1.0)
            slope = point.grad.dot(now["d"])
            if slope > -group["tolerance_change"]:
                break
            flat = self._go(closure, now, point, slope, group, done == group["max_iter"])
            if self._ended(now, point, group, done, flat):
                break
        state.update(now)
        return first

    def _go(
        self, closure: Any, now: Any, point: _Point, slope: Any, group: Group, last: bool
    ) -> bool:
        """Move along ``now["d"]``; ``point`` is brought there. Whether the gradient is flat."""
        state, calls = self.state[self._params[0]], 0
        flat = False
        if group["line_search_fn"] is not None:
            if group["line_search_fn"] != "strong_wolfe":
                raise RuntimeError("only 'strong_wolfe' is supported")
            start = [p.clone() for p in self._params]

            def along(t: Any) -> tuple[float, Tensor]:
                self._move(t, now["d"])
                loss = _number(enable_grad()(closure)())
                grad = self._gathered()
                for p, value in zip(self._params, start, strict=True):
                    p.copy_(value)
                return loss, grad

            most = group["max_eval"] - point.calls
            point.loss, point.grad, now["t"], calls = strong_wolfe(
                along, now["t"], now["d"], point.loss, point.grad, slope, most
            )
            self._move(now["t"], now["d"])
            flat = self._flat(point, group)
        else:
            self._move(now["t"], now["d"])
            if not last:  # what the last step led to the next call evaluates
                point.loss, calls = _number(enable_grad()(closure)()), 1
                point.grad = self._gathered()
                flat = self._flat(point, group)
        point.calls += calls
        state["func_evals"] += calls
        return flat

    def _ended(self, now: Any, point: _Point, group: Group, done: int, flat: bool) -> bool:
        least = group["tolerance_change"]
        return bool(
            done == group["max_iter"]
            or point.calls >= group["max_eval"]
            or flat
            or (now["d"] * now["t"]).abs().max() <= least
            or abs(point.loss - now["prev_loss"]) < least
        )

    def _flat(self, point: _Point, group: Group) -> bool:
        return bool(point.grad.abs().max() <= group["tolerance_grad"])

    def _gathered(self) -> Tensor:
        """All gradients as one vector."""
        parts = [
            zeros(p.numel(), dtype=p.dtype, device=p.device) if p.grad is None else p.grad
            for p in self._params
        ]
        return cat([part.reshape(-1) for part in parts], 0)

    def _move(self, size: Any, way: Tensor) -> None:
        begin = 0
        for p in self._params:
            p.add_(way[begin : begin + p.numel()].view_as(p), alpha=float(size))
            begin += p.numel()


def _number(loss: Any) -> float:
    return float(loss.detach() if isinstance(loss, Tensor) else loss)


def _turn(now: dict[str, Any], grad: Tensor, state: dict[str, Any], most: int) -> None:
    """The next direction, in ``now["d"]``: the inverse Hessian by the kept changes, times -grad."""
    if state["n_iter"] == 1:
        now.update(d=-grad, old_dirs=[], old_stps=[], ro=[], H_diag=1)
        return
    changes, steps, ro = now["old_dirs"], now["old_stps"], now["ro"]
    change, step = grad - now["prev_flat_grad"], now["d"] * now["t"]
    both = change.dot(step)
    if both > 1e-10:
        if len(changes) == most:
            for kept in (changes, steps, ro):
                kept.pop(0)
        changes.append(change)
        steps.append(step)
        ro.append(1.0 / both)
        now["H_diag"] = both / change.dot(change)
    shares = state.setdefault("al", [None] * most)
    way = -grad
    for i in reversed(range(len(changes))):
        shares[i] = steps[i].dot(way) * ro[i]
        way.add_(changes[i], alpha=-shares[i].item())
    way = way * now["H_diag"]
    for i in range(len(changes)):
        back = changes[i].dot(way) * ro[i]
        way.add_(steps[i], alpha=(shares[i] - back).item())
    now["d"] = way
