"""Module paths of PyTorch that are no files here: ``tilegrad.utils.data.dataloader`` and the like.

A path is another module's second name (the very same object), or a module gathered of names that
stand elsewhere. Everything is loaded when it is asked for. Paths that are files are Python's.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

SAME = {  # path: the module that it is another name of, and what lies below it
    "autograd.anomaly_mode": "autograd.mode",
    "autograd.grad_mode": "autograd.mode",
    "optim._adafactor": "optim.adafactor",
    "optim._muon": "optim.muon",
    "profiler": "autograd.profiler",
    "serialization": "data.serialization",
    "signal.windows.windows": "signal.windows",
    "utils.checkpoint": "autograd.checkpoint",
    "utils.data": "data",
    "utils.data._utils": "data",
}

_FUNCTIONAL = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "align_tensors",
    "block_diag",
    "broadcast_shapes",
    "broadcast_tensors",
    "cartesian_prod",
    "cdist",
    "chain_matmul",
    "einsum",
    "istft",
    "lu",
    "meshgrid",
    "norm",
    "split",
    "stft",
    "tensordot",
    "unique",
    "unique_consecutive",
    "unravel_index",
]
_FUNC = [
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "stack_module_state",
    "vjp",
]
_WINDOWS = [
    "bartlett",
    "blackman",
    "cosine",
    "exponential",
    "gaussian",
    "general_cosine",
    "general_hamming",
    "hamming",
    "hann",
    "kaiser",
    "nuttall",
]
_FFT = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "hfft2",
    "hfftn",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "ihfft2",
    "ihfftn",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftfreq",
    "rfftn",
]
_SPECIAL = [
    "i0",
    "digamma",
    "erf",
    "erfc",
    "erfinv",
    "exp2",
    "expm1",
    "log1p",
    "log_softmax",
    "logit",
    "logsumexp",
    "round",
    "sinc",
    "softmax",
    "xlogy",
]
_MASKED = [  # of autograd/masked_reductions.py
    "amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp", "logsumexp", "mean",
    "median", "norm", "normalize", "prod", "softmax", "softmin", "std", "sum", "var",
]  # fmt: skip
_BEYOND = [  # of autograd/special_functions.py
    "airy_ai",
    "bessel_j0",
    "bessel_j1",
    "bessel_y0",
    "bessel_y1",
    "spherical_bessel_j0",
    "entr",
    "erfcx",
    "log_ndtr",
    "ndtr",
    "ndtri",
    "xlog1py",
    "zeta",
    "chebyshev_polynomial_t",
    "chebyshev_polynomial_u",
    "chebyshev_polynomial_v",
    "chebyshev_polynomial_w",
    "shifted_chebyshev_polynomial_t",
    "shifted_chebyshev_polynomial_u",
    "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w",
    "hermite_polynomial_h",
    "hermite_polynomial_he",
    "laguerre_polynomial_l",
    "legendre_polynomial_p",
    "i0e",
    "i1",
    "i1e",
    "modified_bessel_i0",
    "modified_bessel_i1",
    "modified_bessel_k0",
    "modified_bessel_k1",
    "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1",
]


def _off() -> bool:
    return False


_AMP = {
    "GradScaler": "optim.grad_scaler:GradScaler", "autocast": "autograd.autocast:autocast",
    "custom_bwd": "autograd.autocast:custom_bwd", "custom_fwd": "autograd.autocast:custom_fwd",
}  # fmt: skip
_CUDA_AMP = {
    "GradScaler": "optim.grad_scaler:CudaGradScaler", "autocast": "autograd.autocast:cuda_autocast",
}  # fmt: skip

# path: its names; a string is a name of tilegrad, "module:name" one of another module here
MADE: dict[str, dict[str, Any]] = {
    "accelerator": {
        name: f"cuda.accelerator:{name}"
        for name in (
            "current_accelerator", "current_device_index", "device_count", "is_available", "synchronize",
        )
    },
    "amp": {**_AMP, "is_autocast_available": "autograd.autocast:is_autocast_available"},
    "amp.autocast_mode": {"autocast": "autograd.autocast:autocast"},
    "amp.grad_scaler": {"GradScaler": "optim.grad_scaler:GradScaler", "OptState": "optim.grad_scaler:OptState"},
    "compiler": {
        **{name: f"autograd.eager:{name}" for name in ("compile", "disable", "reset")},
        "allow_in_graph": "autograd.eager:itself",
        **dict.fromkeys(("is_compiling", "is_dynamo_compiling", "is_exporting"), _off),
    },
    "cpu": {"is_available": lambda: True, "device_count": lambda: 1, "synchronize": lambda device=None: None},
    "cpu.amp": {**_AMP, "autocast": "autograd.autocast:cpu_autocast"},
    "cpu.amp.autocast_mode": {"autocast": "autograd.autocast:cpu_autocast"},
    "cpu.amp.grad_scaler": {"GradScaler": "optim.grad_scaler:GradScaler"},
    "cuda.amp": {**_AMP, **_CUDA_AMP},
    "cuda.amp.autocast_mode": {**_CUDA_AMP},
    "cuda.amp.grad_scaler": {"GradScaler": "optim.grad_scaler:CudaGradScaler"},
    "backends": {},
    "backends.cuda": {"is_built": _off},
    "backends.cuda.matmul": {"allow_tf32": False, "fp32_precision": "ieee"},
    "backends.cudnn": {
        "is_available": _off, "version": lambda: None, "enabled": True, "benchmark": False,
        "deterministic": True, "allow_tf32": False,
    },
    "backends.mkl": {"is_available": _off},
    "backends.mkldnn": {"is_available": _off},
    "backends.mps": {"is_available": _off, "is_built": _off},
    "backends.openmp": {"is_available": lambda: True},
    "distributed": {
        **dict.fromkeys(("is_available", "is_initialized", "is_torchelastic_launched"), _off),
        **{
            name: f"nn.parallel:{name}"
            for name in ("barrier", "destroy_process_group", "get_rank", "get_world_size", "init_process_group")
        },
    },
    "jit": {
        **{name: f"autograd.eager:{name}" for name in ("annotate", "ignore", "script")},
        **dict.fromkeys(("export", "script_if_tracing", "unused"), "autograd.eager:itself"),
        "Final": Final, "is_scripting": _off, "is_tracing": _off,
    },
    "nn.attention": {
        "SDPBackend": "nn.functional.backends:SDPBackend", "WARN_FOR_UNFUSED_KERNELS": False,
        "sdpa_kernel": "nn.functional.backends:sdpa_kernel",
    },
    "fft": {name: f"autograd.fft:{name}" for name in _FFT},
    "func": {
        **{name: f"autograd.transforms:{name}" for name in _FUNC},
        "functional_call": "nn.utils.stateless:functional_call", "vmap": "autograd.batching:vmap",
    },
    "functional": {name: name for name in _FUNCTIONAL},
    "masked": {name: f"autograd.masked_reductions:{name}" for name in _MASKED},
    "optim._functional": {
        name: f"optim.{name}:{name}"
        for name in (
            "adadelta", "adagrad", "adam", "adamax", "adamw", "asgd", "nadam", "radam", "rmsprop", "rprop", "sgd",
        )
    },
    "random": {
        **{n: n for n in ["get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]},
        "default_generator": "default_generator", "fork_rng": "autograd.rules.random:fork_rng",
    },
    "signal": {},
    "signal.windows": {name: f"autograd.signal_windows:{name}" for name in _WINDOWS},
    "special": {
        **{name: name for name in _SPECIAL},
        **{name: f"autograd.special_functions:{name}" for name in _BEYOND},
        "expit": "sigmoid", "gammainc": "igamma", "gammaincc": "igammac", "gammaln": "lgamma",
        "multigammaln": "mvlgamma", "polygamma": "polygamma", "psi": "digamma",
    },
    "torch_version": {"TorchVersion": "drop_in:TorchVersion", "__version__": "__version__"},
    "types": {"Device": Any, "FileLike": Any, "Number": (int, float, bool)},
    "utils": {},
    "utils._pytree": {
        "tree_flatten": "autograd.trees:taken_apart", "tree_map": "autograd.trees:mapped",
        "tree_unflatten": "autograd.trees:together",
    },
    "utils.dlpack": {"from_dlpack": "from_dlpack"},
    "utils.hooks": {"RemovableHandle": "autograd.graph:RemovableHandle"},
    "xpu": {"is_available": _off, "device_count": lambda: 0},
    "version": {"__version__": "__version__", "cuda": None, "hip": None, "debug": False},
}  # fmt: skip

# functions of layers and losses that torch itself has beside those of autograd/functions.py, some in forms of
# their own: nn/functional/native.py
NATIVE = [
    "adaptive_max_pool1d", "affine_grid_generator", "alpha_dropout", "alpha_dropout_", "batch_norm",
    "binary_cross_entropy_with_logits", "channel_shuffle", "conv1d", "conv2d", "conv3d", "conv_tbc",
    "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution", "cosine_embedding_loss",
    "cosine_similarity", "ctc_loss", "dropout", "dropout_", "embedding", "feature_alpha_dropout",
    "feature_alpha_dropout_", "feature_dropout", "feature_dropout_", "grid_sampler", "grid_sampler_2d",
    "grid_sampler_3d", "group_norm", "hinge_embedding_loss", "instance_norm", "kl_div", "layer_norm",
    "margin_ranking_loss", "max_pool1d_with_indices", "native_channel_shuffle", "native_dropout",
    "norm_except_dim", "pairwise_distance", "pdist", "pixel_shuffle", "pixel_unshuffle",
    "poisson_nll_loss", "rms_norm", "rrelu", "rrelu_", "triplet_margin_loss",
]  # fmt: skip

# what PyTorch has to set and that changes nothing: autograd/settings.py
SETTINGS = [
    "are_deterministic_algorithms_enabled", "get_deterministic_debug_mode", "get_float32_matmul_precision",
    "get_num_interop_threads", "is_anomaly_enabled", "is_deterministic_algorithms_warn_only_enabled",
    "is_distributed", "is_warn_always_enabled", "set_anomaly_enabled", "set_deterministic_debug_mode",
    "set_float32_matmul_precision", "set_flush_denormal", "set_num_interop_threads", "set_warn_always",
    "use_deterministic_algorithms",
]  # fmt: skip
EVERYDAY = ["autocast", "compile", "get_autocast_dtype", "is_autocast_enabled", "vmap"]

LEFT_OUT = {  # first words of paths that are not there, and why; with a dot at its end, what lies below
    "accelerator.graphs accelerator.memory cuda.amp.common": "parts of PyTorch's own",
    "ao quantization nn.cpp nn.qat nn.quantized nn.quantizable nn.intrinsic nn.quant": "no quantization",
    "autograd.forward_ad": "derivatives are taken backward; autograd.functional.jvp takes two passes",
    "autograd.graph_utils autograd.profiler_legacy autograd.profiler_util":
        "old names of what autograd and its profiler have",
    "jit.freeze jit.load jit.save jit.trace jit.trace_module jit.ScriptModule":
        "programs run as they are written; tilegrad.freeze writes what a model does into a file",
    "compiler. export fx jit. nativert package library contrib overrides":
        "programs run as they are written; nothing traces or compiles them",
    "cuda.comm cuda.gds cuda.graphs cuda.green_contexts cuda.jiterator cuda.nccl cuda.nvtx cuda.profiler "
    "cuda.random cuda.sparse cuda.tunable": "of CUDA's libraries; tilegrad.cuda has devices, memory and streams",
    "distributed. futures monitor multiprocessing numa nn.parallel.comm nn.parallel.data_parallel nn.parallel.distributed nn.parallel.parallel_apply "
    "nn.parallel.replicate nn.parallel.scatter_gather": "one process and one device",
    "masked.maskedtensor": "masks are arguments",
    "nested quasirandom sparse return_types storage":
        "beyond the everyday library",
    "hub utils.model_zoo": "nothing is downloaded",
    "mps mtia xpu. backends.cusparselt backends.kleidiai backends.mha backends.miopen backends.nnpack "
    "backends.opt_einsum backends.python_native backends.quantized backends.xeon backends.xnnpack backends.cpu "
    "backends.cudnn.rnn": "hardware and libraries that are not used",
    "nn.backends nn.grad nn.modules.linear_cross_entropy "
    "nn.modules.linear_cross_entropy_options nn.attention.bias nn.attention.experimental "
    "nn.attention.flex_attention nn.attention.varlen": "PyTorch's own parts, and what is new there",
    "onnx.operators onnx.ops onnx.symbolic_helper onnx.testing onnx.utils onnx.verification "
    + " ".join(f"onnx.symbolic_opset{k}" for k in range(7, 21)): "how PyTorch writes ONNX; tilegrad.onnx has rows",
    "optim.sparse_adam": "there are no sparse gradients",
    "profiler.itt profiler.profiler profiler.python_tracer": "of Intel's and PyTorch's tracers; the profiler is one file",
    "utils.backcompat utils.backend_registration utils.benchmark utils.bottleneck utils.bundled_inputs "
    "utils.collect_env utils.cpp_backtrace utils.cpp_extension utils.data.backward_compatibility "
    "utils.data.datapipes utils.data.graph utils.data.graph_settings utils.debug_log utils.deterministic "
    "utils.file_baton utils.flop_counter utils.hipify utils.jit utils.mkldnn utils.mobile_optimizer "
    "utils.model_dump utils.module_tracker utils.serialization utils.show_pickle utils.tensorboard "
    "utils.throughput_benchmark utils.viz utils.weak": "tools of PyTorch's own",
}  # fmt: skip
TOP = sorted({path.split(".")[0] for path in (*SAME, *MADE)})


def _word(name: str) -> str:
    return name.removeprefix("tilegrad.")


def reason(path: str) -> str | None:
    """Why there is no module ``path`` (without ``tilegrad.``), where that is meant."""
    for words, why in LEFT_OUT.items():
        for word in words.split():
            if path == word or path.startswith(f"{word.rstrip('.')}."):
                return why
    return None


def _target(path: str) -> str | None:
    """The module that ``path`` is another name of."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        known = SAME.get(".".join(parts[:end]))
        if known is not None:
            return ".".join([known, *parts[end:]])
    return None


def _home(module: str) -> ModuleType:
    """The module that a name comes from; special functions take the arguments that public ones take."""
    if module == "autograd.special_functions":
        return import_module("tilegrad.autograd.later").loaded(f"tilegrad.{module}")  # type: ignore[no-any-return]
    return import_module(f"tilegrad.{module}".rstrip("."))


class _Made(ModuleType):
    """A module gathered of names that stand elsewhere, each looked up when it is first asked for."""

    def __getattr__(self, name: str) -> Any:
        found, value = self._find(name)
        if not found:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if name != "__all__":  # which grows with what it is made of
            setattr(self, name, value)
        return value

    def _find(self, name: str) -> tuple[bool, Any]:
        """(whether there is one, the value of ``name``)"""
        path = _word(self.__name__)
        names = MADE[path]
        if name == "__all__":
            return True, sorted(n for n in names if n[0] != "_" and self._find(n)[0])
        if name in names:
            value = names[name]
            if not isinstance(value, str):
                return True, value
            module, _, word = value.rpartition(":")
            home = _home(module)
            return hasattr(home, word), getattr(home, word, None)
        if f"{path}.{name}" in (SAME | MADE):
            return True, import_module(f"{self.__name__}.{name}")
        return False, None

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *self.__all__})


class _Loader:
    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        if _word(spec.name) not in MADE:
            return None  # its place is taken at once
        return _Made(spec.name, "PyTorch's names of things that stand elsewhere.")

    def exec_module(self, module: ModuleType) -> None:
        target = _target(_word(module.__name__))
        if target is not None:
            sys.modules[module.__name__] = import_module(f"tilegrad.{target}")
        else:
            module.__path__ = []


class _Finder:
    """Finds the modules of the tables.

    Python's own finders, asked first, would find ``data/dataset.py`` in the folder of ``utils.data``
    once more, and load it as another module.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not name.startswith("tilegrad."):
            return None
        word = _word(name)
        if word in MADE or word in SAME:
            return ModuleSpec(name, _Loader())  # type: ignore[arg-type]
        known = _target(word)
        if known is not None:
            try:
                import_module(f"tilegrad.{known}")
            except ModuleNotFoundError:
                return None
            return ModuleSpec(name, _Loader())  # type: ignore[arg-type]
        return None


def install() -> None:
    """Let imports find the paths, once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
