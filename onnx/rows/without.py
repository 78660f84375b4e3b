"""Ops that ONNX cannot express, or that no forward pass has, and why."""

from __future__ import annotations

_GRADIENT = "a backward op: graphs are exported without their gradients"
_RANDOM = "draws random numbers, of which a runtime would draw others"
_UPDATE = "an update of parameters: what is exported is a forward pass"

WITHOUT = {
    **dict.fromkeys(
        (
            "attention_backward", "avg_pool_backward", "batch_norm_backward", "cross_entropy_backward",
            "log_softmax_backward", "max_pool_backward", "max_pool_gather", "nll_loss_backward", "pad_backward",
            "recurrent_backward", "grid_sample_images", "grid_sample_grid", "row_norm_backward", "softmax_backward", "conv_weight", "cdist_backward",
            "ctc_loss_backward",
        ),
        _GRADIENT,
    ),
    **dict.fromkeys(
        ("uniform", "normal", "exponential", "bernoulli", "integers", "bits", "bernoulli_of", "binomial", "gamma", "log_gamma", "poisson", "von_mises", "dropout"), _RANDOM
    ),
    **dict.fromkeys(
        ("fft_c2c", "fft_c2r", "fft_r2c", "imag", "real", "view_as_complex", "view_as_real"),
        "complex numbers, which ONNX's operators do not take",
    ),
    **dict.fromkeys(
        (
            "cholesky", "eigh", "geqrf", "lu_factor", "lu_solve", "ormqr", "solve", "solve_triangular", "svd",
        ),
        "a decomposition of matrices, of which ONNX has none",
    ),
    "full": "what it fills is a constant of the graph, as what is filled in place",
    "nextafter": "ONNX has no op that gives the next number of a dtype",
    "gcd": "ONNX has no op for it, and its loop ends where the operands say",
    "lcm": "ONNX has no op for it, and its loop ends where the operands say",
    "erfinv": "ONNX has no op for it; its formula reads the bits of a number",
    "lgamma": "ONNX has no op for it; its formula reads the bits of a number",
    "digamma": "ONNX has no op for it; its formula reads the bits of a number",
    "mantissa": "ONNX has no op that takes a number apart",
    "exponent": "ONNX has no op that takes a number apart",
    "ctc_loss": "ONNX has no op for it, and its recurrence ends where lengths say",
    "masked_scatter": "how many elements of the source go where depends on the mask",
    "mode": "ONNX has no op that counts equal elements",
    "repeated_indices": "how long the result is depends on the counts",
    **dict.fromkeys(("logcumsumexp", "cummax", "cummin"), "ONNX's only scans are sums and products"),
    "norm_inf_vjp": _GRADIENT,
    "aminmax_vjp": _GRADIENT,
    "first_outside": "a check of indices: a runtime has its own",
    **dict.fromkeys(("total_norm", "shrink"), _UPDATE),
}  # fmt: skip
