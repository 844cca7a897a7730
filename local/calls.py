"""Which AWS calls a process makes, as IAM sees them: an action on a resource, one line per call.

botocore hands every call to hooks before it is sent, so code and clients stay as they are. A line
holds names only, never a body. `tests/` match the lines with the template's policies.

Run inside a function's worker, where nothing of `local` is found: it imports nothing of ours.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import botocore.handlers

Params = Mapping[str, Any]
Sink = Callable[["Call"], None]


@dataclass(frozen=True)
class Call:
    """One permission that a call needs. `context`: the condition keys that come with it."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


# Operations of S3 on an object, and on a bucket: what they are called in policies (Service
# Authorization Reference, "Actions, resources, and condition keys for Amazon S3").
_ON_OBJECT = {
    "AbortMultipartUpload": "AbortMultipartUpload",
    "CompleteMultipartUpload": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "DeleteObject": "DeleteObject",
    "GetObject": "GetObject",
    "HeadObject": "GetObject",
    "ListParts": "ListMultipartUploadParts",
    "PutObject": "PutObject",
    "UploadPart": "PutObject",
}
_ON_BUCKET = {
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
}
_OF_A_VERSION = ("GetObject", "DeleteObject")
_ASKS_FOR_AN_OBJECT = ("GetObject", "HeadObject")
_NOT_FOUND = 404


@dataclass(frozen=True)
class Place:
    """Where a caller is: what ARNs are composed of."""

    region: str
    account: str

    def arn(self, service: str, resource: str) -> str:
        """The ARN of something of this account in this region."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


def calls_of(service: str, operation: str, params: Params, place: Place) -> Iterator[Call]:
    """The permissions that one call needs. An operation that is not known here has resource "?"."""
    match service:
        case "s3":
            yield from _of_s3(operation, params)
        case "sagemaker":
            yield from _of_sagemaker(operation, params, place)
        case "dynamodb" if "TableName" in params:
            index = f"/index/{params['IndexName']}" if "IndexName" in params else ""
            table = str(params["TableName"]).rpartition("/")[2]
            yield Call(f"dynamodb:{operation}", place.arn("dynamodb", f"table/{table}{index}"))
        case "sqs" if "QueueUrl" in params:
            name = params["QueueUrl"].rpartition("/")[2]
            yield Call(f"sqs:{operation.removesuffix('Batch')}", place.arn("sqs", name))
        case "ssm" if "Name" in params:
            yield Call(f"ssm:{operation}", place.arn("ssm", f"parameter{params['Name']}"))
        case "sns" if "TopicArn" in params:
            yield Call(f"sns:{operation}", params["TopicArn"])
        case "cloudwatch" if operation == "PutMetricData":
            space = {"cloudwatch:namespace": params["Namespace"]}
            yield Call("cloudwatch:PutMetricData", "*", space)
        case _:
            yield Call(f"{service}:{operation}", "?")


def _of_s3(operation: str, params: Params) -> Iterator[Call]:
    bucket = f"arn:aws:s3:::{params.get('Bucket')}"
    if operation in _ON_OBJECT:
        action = _ON_OBJECT[operation]
        if action in _OF_A_VERSION and params.get("VersionId"):
            action += "Version"
        yield Call(f"s3:{action}", f"{bucket}/{params['Key']}")
        if "IfMatch" in params:  # S3 looks at the object on the caller's behalf
            yield Call("s3:GetObject", f"{bucket}/{params['Key']}")
    elif operation in _ON_BUCKET:
        yield Call(f"s3:{_ON_BUCKET[operation]}", bucket, {"s3:prefix": params.get("Prefix", "")})
    else:
        yield Call(f"s3:{operation}", "?")


def _of_sagemaker(operation: str, params: Params, place: Place) -> Iterator[Call]:
    named = {
        "TrainingJobName": "training-job",
        "TransformJobName": "transform-job",
        "ModelName": "model",
    }
    # A transform job names its model as well: the job comes first.
    for parameter, kind in named.items():
        if parameter in params:
            resource = f"{kind}/{params[parameter].lower()}"  # as SageMaker writes them
            yield Call(f"sagemaker:{operation}", place.arn("sagemaker", resource))
            break
    else:
        yield Call(f"sagemaker:{operation}", "*" if operation.startswith("List") else "?")
    for parameter in ("RoleArn", "ExecutionRoleArn"):
        if parameter in params:
            service = {"iam:PassedToService": "sagemaker.amazonaws.com"}
            yield Call("iam:PassRole", params[parameter], service)


class Recorder:
    """Two hooks of botocore that tell a sink of every call."""

    def __init__(self, sink: Sink, account: str) -> None:
        self._sink = sink
        self._account = account

    def before(self, params: Params, model: Any, context: dict[str, Any], **_: Any) -> None:
        """Botocore's `before-parameter-build`: a call is about to be made."""
        place = Place(context.get("client_region") or "", self._account)
        context["recorded"] = params.get("Bucket")
        for call in calls_of(model.service_model.service_name, model.name, params, place):
            self._sink(call)

    def after(self, parsed: Any, model: Any, context: dict[str, Any], **_: Any) -> None:
        """Botocore's `after-call`. Who may not list a bucket is told "forbidden", not "absent"."""
        status = parsed.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if model.name in _ASKS_FOR_AN_OBJECT and status == _NOT_FOUND:
            self._sink(Call("s3:ListBucket", f"arn:aws:s3:::{context['recorded']}"))

    @property
    def hooks(self) -> tuple[tuple[str, Any], ...]:
        """The names of botocore's events, and what is to be registered for each."""
        return ("before-parameter-build", self.before), ("after-call", self.after)


def appender(path: Path) -> Sink:
    """A sink that appends lines to a file; several processes may append to the same."""

    def append(call: Call) -> None:
        line = json.dumps(asdict(call)).encode() + b"\n"
        with path.open("ab", buffering=0) as file:  # opened each time: it may have been turned
            file.write(line)

    return append


def record_every_session(path: Path, account: str) -> None:
    """Let every session that this process makes from now on append its calls to a file."""
    botocore.handlers.BUILTIN_HANDLERS += list(Recorder(appender(path), account).hooks)
