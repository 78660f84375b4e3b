"""The public functions, PyTorch's names: what each family of rules lists in its ``__all__``."""

from types import FunctionType as _FunctionType
from typing import TYPE_CHECKING as _TYPE_CHECKING

from tilegrad.autograd.arguments import checked as _checked
from tilegrad.autograd.extra import extras as _extras
from tilegrad.autograd.kinds import exact as _exact
from tilegrad.autograd.names import renamed as _renamed
from tilegrad.autograd.rules.activation import *
from tilegrad.autograd.rules.arithmetic import *
from tilegrad.autograd.rules.assign import *
from tilegrad.autograd.rules.bilinear import *
from tilegrad.autograd.rules.comparison import *
from tilegrad.autograd.rules.conv import *
from tilegrad.autograd.rules.counting import *
from tilegrad.autograd.rules.creation import *
from tilegrad.autograd.rules.embedding import *
from tilegrad.autograd.rules.extrema import *
from tilegrad.autograd.rules.index import *
from tilegrad.autograd.rules.indexing import *
from tilegrad.autograd.rules.masked import *
from tilegrad.autograd.rules.matmul import *
from tilegrad.autograd.rules.moments import *
from tilegrad.autograd.rules.movement import *
from tilegrad.autograd.rules.norm import *
from tilegrad.autograd.rules.pointwise import *
from tilegrad.autograd.rules.pool import *
from tilegrad.autograd.rules.predicates import *
from tilegrad.autograd.rules.product import *
from tilegrad.autograd.rules.random import *
from tilegrad.autograd.rules.rearrange import *
from tilegrad.autograd.rules.recurrent import *
from tilegrad.autograd.rules.reduce import *
from tilegrad.autograd.rules.resize import *
from tilegrad.autograd.rules.sampling import *
from tilegrad.autograd.rules.scan import *
from tilegrad.autograd.rules.scatter import *
from tilegrad.autograd.rules.softmax import *
from tilegrad.autograd.rules.sort import *
from tilegrad.autograd.rules.unary import *
from tilegrad.autograd.rules.view import *

if _TYPE_CHECKING:  # loaded when one of their names is asked for; see later.py
    from tilegrad.autograd.rules.assembly import *
    from tilegrad.autograd.rules.contraction import *
    from tilegrad.autograd.rules.copies import *
    from tilegrad.autograd.rules.differences import *
    from tilegrad.autograd.rules.distances import *
    from tilegrad.autograd.rules.draws import *
    from tilegrad.autograd.rules.linalg_names import *
    from tilegrad.autograd.rules.numeric import *
    from tilegrad.autograd.rules.overwriting import *
    from tilegrad.autograd.rules.planar import *
    from tilegrad.autograd.rules.quantiles import *
    from tilegrad.autograd.rules.scripting import *
    from tilegrad.autograd.rules.spectrogram import *
    from tilegrad.autograd.rules.windows import *

_functions = [f for f in list(globals().values()) if f.__class__ is _FunctionType]
_exact(_functions)
_renamed(_functions, _extras)
_checked(_functions)
