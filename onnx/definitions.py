"""Operators that ONNX itself defines by others: asked for where no function of the tables runs one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tilegrad.onnx import messages
from tilegrad.onnx.errors import LoadError
from tilegrad.onnx.messages import AttributeProto, FunctionProto, NodeProto


def of(
    node: NodeProto,
    given: Sequence[AttributeProto],
    domain: str,
    version: int,
    kinds: Sequence[Any],
) -> FunctionProto:
    """The definition of a node's operator, its attributes' defaults included.

    ``kinds``: of the inputs, (number of the element type, shape), in a tuple of one of a sequence's, or None.

    Raises:
        LoadError: ONNX has none, or its package, which knows them, is not installed.
    """
    try:
        import onnx
        from onnx import defs, helper
    except ImportError:
        raise LoadError(
            f"load: the operator {node.op_type} is run by its definition, which the package onnx has: "
            "pip install 'tilegrad[onnx]'"
        ) from None

    def type_of(kind: Any) -> onnx.TypeProto:
        if kind is None:
            return onnx.TypeProto()
        if len(kind) == 1:
            return helper.make_sequence_type_proto(type_of(kind[0]))
        return helper.make_tensor_type_proto(kind[0], list(kind[1]))

    try:
        schema = defs.get_schema(node.op_type, version, domain)
    except defs.SchemaError:
        raise LoadError(
            f"load: the operator {node.op_type} of {domain or 'ONNX'} version {version} is not known"
        ) from None
    if schema.has_function:
        made = onnx.FunctionProto()
        made.CopyFrom(schema.function_body)
        named = {a.name for a in made.attribute_proto}
        for name, attribute in schema.attributes.items():
            if attribute.default_value.name and name not in named:
                made.attribute_proto.append(attribute.default_value)
        body = made.SerializeToString()
    elif schema.has_context_dependent_function:
        plain = onnx.NodeProto.FromString(bytes(node.raw))
        del plain.attribute[:]
        for attribute in given:
            plain.attribute.append(onnx.AttributeProto.FromString(bytes(attribute.raw)))
            plain.attribute[-1].name = attribute.name
        last = max(v for v in schema.context_dependent_function_opset_versions if v <= version)
        types = [type_of(kind).SerializeToString() for kind in kinds]
        body = schema.get_context_dependent_function_with_opset_version(
            last, plain.SerializeToString(), types
        )
    else:
        raise LoadError(f"load: the operator {node.op_type} is not supported")
    made_of: FunctionProto = messages.read(FunctionProto, body)
    return made_of
