"""Differences from PyTorch that are meant, each with its reason."""

from __future__ import annotations

import re
from typing import NamedTuple


class Meant(NamedTuple):
    """A kind of difference.

    Attributes:
        ours: what tilegrad gives, or what differs in a result.
        theirs: what PyTorch gives, then what :func:`tests.programs.run.facts` says of the statement.
        why: the reason why that stays so.
        statement: how the statement reads.
        earlier: how the statements before read, one a line.
    """

    ours: str
    theirs: str
    why: str
    statement: str = ""
    earlier: str = ""


EXPLAINED = [
    Meant(
        r"^no error",
        r"not implemented for '|does not support bool|on bool tensors is not supported|"
        r"may not be a boolean tensor|to have one of the following scalar types|Unsupported input type|yet common dtype is|Integral inputs not supported|Expected a floating point or complex tensor as input",
        "an op whose meaning is plain for a dtype works for it here, also where PyTorch has no kernel",
    ),
    Meant(
        r"expected (m1 and m2 to have the same|operands of one) dtype| not implemented for '",
        r"(no error|IndexError).* of no elements",
        "PyTorch does not look at dtypes where there are no elements",
    ),
    Meant(
        r"^IndexError: \w+: Dimension out of range",
        r"no error.* of no elements",
        "PyTorch does not look at the dimension where there are no elements",
    ),
    Meant(
        r"^\w+Error: \w+: index -?\d+ is out of bounds",
        r" of no elements|The size of tensor a",
        "PyTorch does not look at indices where no elements are read or written",
    ),
    Meant(
        r"^RuntimeError: fill: value cannot be converted to type",
        r"no error.* of no elements",
        "PyTorch does not look at a value that is scattered to no elements",
        r"scatter_?\(",
    ),
    Meant(
        r"^RuntimeError: gather: index -?\d+ is out of bounds",
        r"no error",
        "PyTorch's take_along_dim takes an index beyond the dimension modulo its size",
        r"take_along_dim\(",
    ),
    Meant(
        r"^no error",
        r"derivative for '?(aten::)?\w+'? is not implemented",
        "remainder has a gradient of the divisor whatever the dividend is, distances have second derivatives",
    ),
    Meant(
        r"^no error",
        r"modified by an inplace operation: ",
        "what the wanted gradients do not read is not saved, so it may change",
    ),
    Meant(
        r"(index_put|index_fill)_: .*more than one element of the written-to tensor",
        r"no error.* of overlapping memory",
        "a write to expanded memory that is recorded, which PyTorch refuses in backward, or of several values",
    ),
    Meant(
        r"^no error",
        r"some elements of the input tensor and the written-to tensor .* of the same elements",
        "elements are written to themselves; PyTorch compares the strides of single elements too",
    ),
    Meant(
        r"^RuntimeError: index_put_: .*some elements of the input tensor and the written-to tensor",
        r"no error.* of no elements",
        "PyTorch's setitem does not look at the memory of no elements",
        r"\] = x\d+$",
    ),
    Meant(
        r"each dimension may appear once|index -?\d+ is out of bounds",
        r"to have non-zero size|value cannot be converted",
        "which of two mistakes in one statement is named",
    ),
    Meant(
        r"index_fill_: .*more than one element of the written-to tensor",
        r"^IndexError: index -?\d+ is out of bounds",
        "which of two mistakes in one statement is named",
    ),
    Meant(
        r"^IndexError: index_copy: source must have the shape",
        r"more than one element of the written-to tensor",
        "which of two mistakes in one statement is named",
    ),
    Meant(
        r"^no error",
        r"view size is not compatible with input tensor's size and stride",
        "what index arrays take is row-major here, in PyTorch in the order of the indexed dimensions",
        r"\.view\(",
        r" = x\d+\[.*\[",
    ),
    Meant(
        r"^no error",
        r"(Subtraction|Negation), the `-` operator, (with|on) (a|two) bool tensors? (is|are)? ?not supported|with two bool tensors",
        "PyTorch's formulas of tanhshrink, losses, and gradients of pow, logaddexp and atan2 take a bool operand's negative",
        r"\.backward\(|autograd\.grad\(|_loss\(|tanhshrink\(",
    ),
    Meant(
        r"^x\d+: is ",
        r" of overlapping memory",
        "what is read is read first; PyTorch writes over it on the way where it does not see the overlap",
    ),
    Meant(
        r"^x\d+: (\.grad: )?is NaN in PyTorch alone",
        r"",
        "PyTorch's amax and amin give 0 times an infinite gradient to the elements that are none",
        r"\.backward\(|autograd\.grad\(",
        r"\.am(ax|in)\(",
    ),
    Meant(
        r"^x\d+: (\.grad: )?is NaN in PyTorch alone",
        r"",
        "PyTorch's second derivatives of atan2 and sinc at 0 are NaN, which 0 times leaves as it is",
        r"\.backward\(|autograd\.grad\(",
        r"\b(atan2|sinc)_?\(",
    ),
    Meant(
        r": requires_grad is (True, not False|False, not True), of float\d+ zeros$",
        r"",
        "whether the zeros that a write over everything leaves of a gradient have a graph",
        r"autograd\.grad\(.*create_graph=True",
        r"\.(copy|fill|zero)_\(|\] = ",
    ),
    Meant(
        r": requires_grad is False, not True, of float\d+ zeros$",
        r" of no elements",
        "PyTorch's gradient of cummax without elements is what came in, which may have a graph",
        "",
        r"cummax\(",
    ),
    Meant(
        r"^RuntimeError: backward: element 0 of tensors does not require grad",
        r"no error of no elements",
        "PyTorch's gradient of cummax without elements is what came in, which may have a graph",
        r"\.backward\(",
        r"cumm(ax|in)\(",
    ),
    Meant(
        r"^x\d+: (\.grad: )?is .*\bnan\b.*, not .*\binf\b",
        r"",
        "sinc of an integer is 0, and times infinity NaN; PyTorch's is what rounding pi x leaves",
        "",
        r"\bsinc_?\(",
    ),
    Meant(
        r"^no error",
        r"setStorage: sizes .* are out of bounds for storage of size",
        "a storage is a block of the pool, of which sizes and strides may show all",
        r"as_strided",
    ),
    Meant(
        r"^no error",
        r"Expected (a long tensor for index|dtype int64 for index)",
        "indices of 32 bits serve wherever those of 64 do",
    ),
    Meant(
        r"^no error",
        r"is not differentiable with respect to argument '(target|weight|pos_weight)'|result type \w+ can't be cast|"
        r"mean\(\): could not infer output dtype",
        "a loss has gradients of its target where its formula has them, and takes integers as one",
        r"_loss\(|_cross_entropy",
    ),
    Meant(
        r": requires_grad is False, not True, of ",
        r"",
        "PyTorch's result asks for gradients that it does not have",
        r"histogram\(|unique(_consecutive)?\(|ldl_factor\(",
    ),
    Meant(
        r"^TypeError: .*\bcomplex\b",
        r"RuntimeError: value cannot be converted to type \w+ without overflow|not implemented for 'Complex|Length of pad",
        "a complex number where a real one belongs is of a wrong type",
    ),
    Meant(
        r"^x\d+: is NaN in PyTorch alone: .*j",
        r"",
        "PyTorch multiplies what it adds to a complex number by a complex 1, and infinity so by 0",
        r" [+-] |\.(add|sub|rsub)_?\(",
    ),
    Meant(
        r"^RuntimeError: \w+: ",
        r"^IndexError: Dimension (out of range|specified)",
        "too few dimensions are named as such, not as an index that is none",
        r"avg_pool|unfold\(|baddbmm\(|t\.(rnn|gru|lstm)",
    ),
    Meant(
        r"^no error",
        r"^TypeError: \w+\(\) received an invalid combination of arguments",
        "a form of call that one of PyTorch's overloads has, with an argument that another has",
        r"\bout=",
    ),
    Meant(
        r"^no error",
        r"Trying to resize storage that is not resizable",
        "what is read is read first; PyTorch resizes the result, which it still reads",
        r"\bout=",
    ),
    Meant(
        r"^no error",
        r"(0 sized dimensions|index 0 out of range for tensor of size \[0|does not have an identity|MKL FFT error|can be any value and is ambiguous).*"
        r" of no elements",
        "what there is of no elements is plain where the shape of the result is",
    ),
    Meant(
        r"^RuntimeError: logical_\w+_: a (view of a )?leaf Variable that requires grad",
        r"no error",
        "a leaf that asks for a gradient is not written over; PyTorch lets these three do it",
    ),
    Meant(
        r"^x\d+: is ",
        r" of memory that one shares",
        "PyTorch's conjugate may show the memory of what it is of; here it is computed",
        r"_\(|\] [+*]?= | [+*]= ",
        r"\.conj\(|adjoint|\.m?H\b|t\.fft\.[\s\S]*resolve_conj\(",
    ),
    Meant(
        r"^x\d+: (is|requires_grad|has shape)",
        r" of (the same elements|overlapping memory)",
        "what is read is read first; PyTorch's result overwrites the operand that it is summed from",
        r"\bout=",
    ),
    Meant(
        r"^no error",
        r" of (the same elements|overlapping memory)",
        "what is read is read first; PyTorch resizes the result, which is the operand too",
        r"\bout=",
    ),
    Meant(
        r"^no error",
        r"does not support automatic differentiation for outputs with complex dtype",
        "gradients of complex numbers flow wherever those of real ones do",
    ),
    Meant(
        r"^no error",
        r"refer to a single memory location",
        "what is read is read first: a write to expanded memory is refused where it is of several values",
        r"\.put_\(|\bout=",
    ),
    Meant(
        r"^no error",
        r"^IndexError: Dimension (out of range|specified)",
        "PyTorch's repeat_interleave looks at a tensor without dimensions as one of two",
        r"repeat_interleave\(",
    ),
    Meant(
        r": requires_grad is True, not False, of float\d+ zeros$",
        r" of no elements",
        "PyTorch's integral of no elements is a new zero",
        r"trapezoid\(|trapz\(",
    ),
    Meant(
        r"^IndexError: narrow: Dimension out of range",
        r"Expected dim < static_cast",
        "a dimension that is none is an IndexError",
        r"narrow_copy\(",
    ),
    Meant(
        r"^RuntimeError: \w+: result type \w+ can't be cast",
        r"no error",
        "PyTorch's index_reduce of no indices does not look at dtypes",
        r"index_reduce_?\(",
    ),
    Meant(
        r"^no error",
        r"view size is not compatible with input tensor's size and stride",
        "PyTorch's isin takes views of what has none",
        r"\bisin\(",
    ),
    Meant(
        r"^no error",
        r"only Tensors of floating point dtype can require gradients|Expected primal to be floating point",
        "PyTorch's transforms ask for gradients of what has none",
        r"t\.func\.|vmap",
    ),
    Meant(
        r"^NotImplementedError: matmul",
        r"no error",
        "PyTorch's einsum does not take a product where a dimension has one element",
        r"einsum\(",
    ),
    Meant(
        r"^NotImplementedError: \W?bitwise_not",
        r"^TypeError: ~",
        "the operator refuses what the function refuses, by the function's exception",
    ),
    Meant(
        r"^RuntimeError: cum\w+_: result type",
        r"no error",
        "PyTorch does not look at dtypes where there is at most one element",
        r"\.cum\w+_\(",
    ),
    Meant(
        r"^x\d+: (\.grad: )?is ",
        r"",
        "PyTorch's gradient of a reducing write gives a share to elements that it does not include",
        r"\.backward\(|autograd\.grad\(",
        r"(index|scatter)_reduce_?\(.*include_self=False",
    ),
    Meant(
        r"^IndexError: linalg.vecdot: Dimension out of range",
        r"no error.* of no elements",
        "PyTorch does not look at the dimension where there are no elements",
    ),
    Meant(
        r"^IndexError: (put: Expected source and index|index_put: index -?\d+ is out of bounds)",
        r"^RuntimeError: put_\(\): Expected a long tensor",
        "which of two mistakes in one statement is named",
    ),
    Meant(
        r"^RuntimeError: adaptive_avg_pool2d: Expected 3D or 4D",
        r"^ValueError: Input dimension should be at least 3",
        "open: PyTorch's exception for a size that is a tuple is another than for a number",
    ),
    Meant(
        r"^x\d+: (\.grad: )?is ",
        r"",
        "PyTorch's gradient of as_strided_scatter leaves out what it does not write over",
        r"\.backward\(|autograd\.grad\(",
        r"as_strided_scatter\(",
    ),
    Meant(
        r"^no error",
        r"Output 0 of \w+ is a view and is being modified inplace",
        "PyTorch's jacobian is one of several views of what it made",
        "",
        r"t\.func\.(jac|hess)",
    ),
    Meant(
        r"^x\d+: is -\d+, not 0",
        r" of no elements",
        "PyTorch's median of no narrow integers is the least int64, cut to their width",
        r"median\(",
    ),
    Meant(
        r"^IndexError: (i?h?r?fft\w*|all): Dimension out of range",
        r"expects a real|only supports bool tensor for result",
        "which of two mistakes in one statement is named",
    ),
    Meant(
        r"^RuntimeError: scatter_reduce_: unsupported operation",
        r"^IndexError: Dimension out of range",
        "which of two mistakes in one statement is named",
    ),
    Meant(
        r"^RuntimeError: backward: Mismatch in shape|^TypeError: pad\(\): argument 'value'",
        r"Expected tangent to be floating point|narrow\(\): length must be non-negative",
        "which of two mistakes in one statement is named",
    ),
    Meant(
        r"^TypeError: bitwise_\w+\(\): argument 'input'",
        r"not implemented for '",
        "which of two mistakes in one statement is named",
    ),
    Meant(
        r"^IndexError: cumulative_trapezoid: Dimension specified",
        r"received a bool input",
        "which of two mistakes in one statement is named",
    ),
    Meant(
        r"^x\d+: is ",
        r" of (the same elements|overlapping memory)",
        "what is read is read first; PyTorch's masked_scatter_ takes elements that it has written over",
        r"masked_scatter_\(",
    ),
    Meant(
        r"^no error",
        r"view size is not compatible with input tensor's size and stride",
        "PyTorch's kron takes views of a product in the order of its operands, which may have none",
        r"\bkron\(",
    ),
    Meant(
        r"^no error",
        r"conjugate view tensors|unresolved conjugated tensors|DispatchKey Conjugate",
        "a conjugate is computed here; PyTorch's may be a mark, of which not all of it knows",
    ),
    Meant(
        r"^no error",
        r"derivative for _foreach_\w+ is not implemented",
        "functions of lists have the gradients that those of one tensor have",
        r"\.backward\(|autograd\.grad\(",
    ),
    Meant(
        r"^no error",
        r"^RuntimeError: Autograd not support dtype",
        "a total in whole numbers is one without a gradient",
        r"\bt\.(cum)?(sum|prod)\(.*dtype=",
    ),
    Meant(
        r"^no error",
        r"self\.stride\(-1\) must be 1 to view",
        "results of linear algebra are row-major here, PyTorch's LAPACK's column by column",
        r"view",
        r"linalg\.|cholesky|triangular|lstsq|inverse",
    ),
    Meant(
        r"^x\d+: is ",
        r" of memory that one shares",
        "a transform's result is row-major here; PyTorch's may lie otherwise, so that a reshape of it is a copy",
        r"\] [+*]?= |_\(| [+*]= ",
        r"t\.fft\.[\s\S]*(reshape|flatten|ravel)\(",
    ),
    Meant(
        r"^x\d+: is NaN in PyTorch alone",
        r"",
        "PyTorch's i0, i1 and polygamma of infinity are NaN; those of scipy infinity and 0",
        r"\bi[01]\(|polygamma\(",
    ),
    Meant(
        r"^x\d+: is NaN in PyTorch alone",
        r"",
        "PyTorch's trapezoid of an infinite end takes half of it off the sum, infinity from infinity",
        r"trapezoid\(|trapz\(",
    ),
    Meant(
        r"^x\d+: (\.grad: )?is the same in single precision",
        r"",
        "PyTorch's gradient of hardsigmoid takes a sixth in float32, of float64 too",
        r"\.backward\(|autograd\.grad\(",
        r"hardsigmoid\(",
    ),
    Meant(
        r"^x\d+: is ",
        r" of another rounding",
        "the bytes of a float show how its last digit was rounded",
        r"view_copy\(x\d+, t\.",
    ),
    Meant(
        r": requires_grad is True, not False, of ",
        r"",
        "the gradient of a mantissa has a graph, of zeros; PyTorch's has none",
        r"autograd\.grad\(",
        r"frexp\(",
    ),
    Meant(
        r": requires_grad is False, not True, of ",
        r"",
        "the gradient of a largest difference is constant; PyTorch's asks for one that it does not have",
        r"autograd\.grad\(",
        r"(cdist|pdist|dist)\(.*inf",
    ),
    Meant(
        r"^RuntimeError: (pad|constant_pad_nd): value cannot be converted",
        r"no error",
        "PyTorch does not look at a value that pads nothing",
        r"pad(_nd)?\(",
    ),
    Meant(
        r"^x\d+: is ",
        r" of another layout",
        "results of linear algebra are row-major here, PyTorch's LAPACK's column by column",
        r"as_strided",
        r"linalg\.",
    ),
    Meant(
        r"^no error",
        r"view size is not compatible with input tensor's size and stride|self\.stride\(-1\) must be 1 to view",
        "a transform's result is row-major here",
        r"\.view\(",
        r"t\.fft\.",
    ),
    Meant(
        r"^no error",
        r"more than one element of the written-to tensor",
        "PyTorch's hessian of expanded memory writes to its own unit vectors",
        r"t\.func\.hessian",
    ),
    Meant(
        r"^RuntimeError: abs: Expected out tensor to have dtype",
        r"no error",
        "open: PyTorch casts the magnitudes of complex numbers, of real ones not",
        r"\bout=",
    ),
    Meant(
        r"^NotImplementedError: \Wlinspace\W not implemented for 'bool'",
        r"no error",
        "truth values are no numbers in between",
        r"\bout=",
    ),
    Meant(
        r"^x\d+: is NaN in PyTorch alone",
        r"",
        "PyTorch's mean beside a variance is NaN where a sum of infinities is infinite",
        r"(var|std)_mean\(",
    ),
    Meant(
        r"^x\d+: is NaN in PyTorch alone",
        r"",
        "PyTorch's mode may be NaN where a number is as frequent",
        r"\bmode\(",
    ),
    Meant(
        r"^x\d+: is NaN in PyTorch alone: .*j",
        r"",
        "PyTorch's complex powers of 0 are NaN, 0 ** 0 too, which is 1 of real numbers",
        r"pow\(|\*\*",
    ),
    Meant(
        r"^no error",
        r"^RuntimeError: result type Float can't be cast to the desired output type.* of no elements",
        "the gradient of a divisor that has none is not made",
        r"\.backward\(|autograd\.grad\(",
        r"addcdiv",
    ),
    Meant(
        r"^x\d+: is .*\bnan\b.*, not .*\b0\.0\b",
        r"",
        "PyTorch's fused attention gives 0 where all scores are NaN",
        r"scaled_dot_product_attention\(",
    ),
    Meant(
        r": requires_grad is False, not True, of ",
        r"",
        "the gradient of a segment's sum or mean is constant; PyTorch's has a graph",
        r"autograd\.grad\(",
        r"segment_reduce\(x\d+, '(sum|mean)'",
    ),
    Meant(
        r"^no error",
        r"view size is not compatible with input tensor's size and stride",
        "PyTorch's hessian of expanded memory is laid out as that",
        r"\.view\(",
        r"t\.func\.hessian",
    ),
    Meant(
        r"^x\d+: is \[",
        r"",
        "which of several NaN comes first no library says",
        r"unique\(x\d+, return_inverse=True",
        r"\bnan\b",
    ),
    Meant(
        r"^x\d+: is .*\bnan\b.*, not .*\b(nan|inf)\b",
        r"",
        "which results of a transform of infinities are NaN hangs on the order of its sums",
        r"t\.fft\.",
    ),
    Meant(
        r"^x\d+: \.grad: is ",
        r"",
        "PyTorch's logical functions in place leave the graph of what they write over",
        r"\.backward\(|autograd\.grad\(",
        r"\.logical_(and|or|xor|not)_\(",
    ),
    Meant(
        r": requires_grad is False, not True, of float",
        r"",
        "PyTorch's comparisons in place have a graph, of zeros",
        r"\.(eq|ne|lt|le|gt|ge)_\(",
    ),
    Meant(
        r"^no error",
        r"Output \d+ of \w+ is a view and is being modified inplace.* of no elements",
        "a write of no elements changes nothing",
    ),
    Meant(
        r"^RuntimeError: diff: Expected out tensor to have dtype",
        r"no error",
        "open: PyTorch casts differences into a given result, but not what n=0 leaves",
        r"\bout=",
    ),
    Meant(
        r"^NotImplementedError: (kthvalue|sort|cumm(ax|in)): not implemented for 'Complex",
        r"no error.* of no (elements|dimensions)",
        "PyTorch does not look at dtypes where nothing is compared",
        r"kthvalue\(|mode\(|cumm(ax|in)\(",
    ),
    Meant(
        r"^RuntimeError: scatter_add: Expected index .* to be no larger than src",
        r"^IndexError: Dimension out of range",
        "PyTorch asks for a dimension that the source does not have",
        r"scatter_reduce_?\(",
    ),
    Meant(
        r"^RuntimeError: gradient: does not support bool input",
        r"^IndexError: (Dimension specified as|tuple index out of range)",
        "which of two mistakes in one statement is named",
    ),
    Meant(
        r"^NotImplementedError: (max|min): does not support complex input",
        r"^IndexError: \w+\(\): Expected reduction dim",
        "which of two mistakes in one statement is named",
    ),
    Meant(
        r": requires_grad is False, not True, of ",
        r"",
        "PyTorch's result asks for gradients that it does not have",
        "",
        r"unique(_consecutive)?\(",
    ),
    Meant(
        r": requires_grad is False, not True, of ",
        r"",
        "a gradient that does not change with what it is of has no graph",
        r"autograd\.grad\(",
        r"rrelu\(|'prod'",
    ),
    Meant(
        r"^x\d+: is the same in single precision: .*j",
        r"",
        "the last digit of a complex sign, which is taken for exact",
        r"\bsgn_?\(",
    ),
    Meant(
        r"^x\d+: is ",
        r"",
        "PyTorch's antialiased resampling of one column takes it for channels that lie last, and repeats its first row",
        r"antialias=True",
    ),
    Meant(
        r"^no error",
        r"Expected !nested_tensorlist\[0\]\.empty\(\)|INTERNAL ASSERT FAILED|Found dtype \w+ but expected|"
        r"start out of range",
        "PyTorch fails by an assertion of its own, where nothing is to be done or a result is given a place",
    ),
    Meant(
        r"^x\d+: has tilegrad\.float64, not torch\.int64",
        r"",
        "PyTorch counts without weights where there are no elements",
        r"bincount\(",
    ),
    Meant(
        r"^x\d+: has tilegrad\.float\d+, not torch\.u?int\d+",
        r"",
        "a loss takes integers as numbers",
        r"_loss\(",
    ),
    Meant(
        r"^x\d+: (has shape|is \[)",
        r"",
        "PyTorch's unpad_sequence transposes its argument in place",
        r"unpad_sequence\(",
    ),
    Meant(
        r"^RuntimeError: nansum",
        r"no error",
        "PyTorch's nansum of integers into complex numbers is a sum",
        r"\bout=",
    ),
    Meant(
        r"^no error",
        r"(memory location|leaf Variable).* of (overlapping memory|memory that one shares)",
        "what vmap gives is made anew here; PyTorch's may show its argument's memory",
        r"\] [+*]?= |_\(| [+*]= ",
        r"vmap\(",
    ),
    Meant(
        r"^x\d+: is ",
        r"",
        "what vmap gives is made anew here; PyTorch's may show its argument's memory",
        r"\] [+*]?= |_\(| [+*]= ",
        r"vmap\(",
    ),
    Meant(
        r"^IndexError: am(ax|in): Expected reduction dim",
        r"Expected the dtype for input and out to match",
        "a function that writes to out= is worked out before the dtype of that is looked at",
        r"am(ax|in)\(.*out=",
    ),
    Meant(
        r"^RuntimeError: setitem: a view of a leaf Variable",
        r"no error",
        "PyTorch lets nothing be written to a leaf that requires grad",
        r"\[False\] = ",
    ),
    Meant(
        r"^no error",
        r"jacrev: Expected all inputs to be real",
        "gradients of complex numbers flow wherever those of real ones do",
    ),
    Meant(
        r"^x\d+: is ",
        r"",
        "the rows of R beyond a matrix's rank are not determined",
        r"linalg\.qr\(.*\.abs\(\)",
    ),
    Meant(
        r"^no error",
        r"^TypeError: \w+\(\) got an unexpected keyword argument 'out'",
        "methods take out= where their functions do",
        r"\bout=",
    ),
    Meant(
        r"^x\d+: (\.grad: )?is .*\binf\b.*, not .*\d{12,}",
        r"",
        "PyTorch's trigamma at a pole is what rounding leaves of pi",
        r"polygamma|digamma|lgamma|zeta",
    ),
    Meant(
        r": requires_grad is False, not True, of \w*(int\d+|bool)( zeros)?$",
        r"",
        "PyTorch's fill_ by a tensor that requires grad, and comparisons in place, let integers require grad",
        r"\] = x\d+$|\.(fill|eq|ne|lt|le|gt|ge)_\(",
    ),
]


def reason(difference: str, statement: str, lines: list[str]) -> str:
    """Why ``difference``, at a ``statement`` after ``lines``, is meant; empty if it is not."""
    ours, _, theirs = difference.partition(", where PyTorch gives ")
    for row in EXPLAINED:
        found = re.search(row.ours, ours) and re.search(row.theirs, theirs)
        if found and re.search(row.statement, statement):
            if not row.earlier or re.search(row.earlier, "\n".join(lines)):
                return row.why
    return ""
