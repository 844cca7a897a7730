"""Which AWS actions a step's code can come to call, read from the code.

From `handler` every name is followed that a function or class of the package bears, every call of a
method and every look at a property. So more may be found than is ever called; what is called
through a client is not missed.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from tests.template.deployed import ROOT

FUNCTIONS = ROOT / "functions"

# A client's method, and the actions that AWS asks permission for. Where several clients have a
# method of that name, none is used here but the one named.
ACTIONS: dict[str, frozenset[str]] = {
    "get_object": frozenset({"s3:GetObject"}),
    "head_object": frozenset({"s3:GetObject"}),
    "download_fileobj": frozenset({"s3:GetObject"}),
    "put_object": frozenset({"s3:PutObject"}),
    "upload_fileobj": frozenset({"s3:PutObject", "s3:AbortMultipartUpload"}),
    "delete_object": frozenset({"s3:DeleteObject"}),
    "list_objects_v2": frozenset({"s3:ListBucket"}),
    "list_object_versions": frozenset({"s3:ListBucketVersions"}),
    "send_message": frozenset({"sqs:SendMessage"}),
    "send_message_batch": frozenset({"sqs:SendMessage"}),
    "get_queue_attributes": frozenset({"sqs:GetQueueAttributes"}),
    "get_parameter": frozenset({"ssm:GetParameter"}),
    "put_parameter": frozenset({"ssm:PutParameter"}),
    "get_item": frozenset({"dynamodb:GetItem"}),
    "put_item": frozenset({"dynamodb:PutItem"}),
    "update_item": frozenset({"dynamodb:UpdateItem"}),
    "query": frozenset({"dynamodb:Query"}),
    "create_model": frozenset({"sagemaker:CreateModel", "iam:PassRole"}),
    "describe_model": frozenset({"sagemaker:DescribeModel"}),
    "create_training_job": frozenset({"sagemaker:CreateTrainingJob", "iam:PassRole"}),
    "describe_training_job": frozenset({"sagemaker:DescribeTrainingJob"}),
    "list_training_jobs": frozenset({"sagemaker:ListTrainingJobs"}),
    "create_transform_job": frozenset({"sagemaker:CreateTransformJob"}),
    "describe_transform_job": frozenset({"sagemaker:DescribeTransformJob"}),
    "stop_transform_job": frozenset({"sagemaker:StopTransformJob"}),
    "list_transform_jobs": frozenset({"sagemaker:ListTransformJobs"}),
    "publish": frozenset({"sns:Publish"}),
}
# How a call to a client is told from any other: by what the client is kept in.
CLIENTS = frozenset({"s3", "sagemaker", "sns", "sqs", "ssm", "table", "_table"})


def actions_of(step: str) -> frozenset[str]:
    """Every action that `handler` of a step can come to."""
    methods = {name for node in _reachable(step) for name in _client_methods(node)}
    unknown = methods - ACTIONS.keys()
    assert not unknown, f"tests/template/calls.py does not know {sorted(unknown)}"
    return frozenset().union(*(ACTIONS[method] for method in methods))


def _reachable(step: str) -> list[ast.FunctionDef]:
    own, _ = _definitions(step)
    functions, methods = _definitions("tomodrop")
    waiting = list(own["handler"])
    seen: dict[int, ast.FunctionDef] = {}
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen[id(node)] = node
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name):
                waiting += functions.get(inner.id, [])
            elif isinstance(inner, ast.Attribute) and not _is_client(inner.value):
                waiting += functions.get(inner.attr, [])
                waiting += filter(_is_property, methods.get(inner.attr, []))
            elif isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
                waiting += methods.get(inner.func.attr, [])
    return list(seen.values())


Definitions = dict[str, list[ast.FunctionDef]]


@cache
def _definitions(module_or_package: str) -> tuple[Definitions, Definitions]:
    """Functions and methods by name, of a step's module or of the package."""
    folder = FUNCTIONS / module_or_package
    paths = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    functions: Definitions = defaultdict(list)
    methods: Definitions = defaultdict(list)
    for tree in (ast.parse(path.read_text(encoding="utf-8")) for path in paths):
        for holder in ast.walk(tree):
            kept = methods if isinstance(holder, ast.ClassDef) else functions
            for node in ast.iter_child_nodes(holder):
                if not isinstance(node, ast.FunctionDef):
                    continue
                if isinstance(holder, ast.ClassDef) and node.name == "__init__":
                    functions[holder.name].append(node)  # making one runs this
                else:
                    kept[node.name].append(node)
    return functions, methods


def _is_property(node: ast.FunctionDef) -> bool:
    marks = (mark for mark in node.decorator_list if isinstance(mark, ast.Name))
    return any(mark.id in ("property", "cached_property") for mark in marks)


def _client_methods(node: ast.FunctionDef) -> Iterator[str]:
    for call in ast.walk(node):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        if not _is_client(call.func.value):
            continue
        if call.func.attr == "get_paginator":
            [operation] = call.args
            assert isinstance(operation, ast.Constant)
            yield str(operation.value)
        else:
            yield call.func.attr


def _is_client(holder: ast.expr) -> bool:
    kept_in = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", "")
    return kept_in in CLIENTS
