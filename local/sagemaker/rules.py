"""What a request must obey beyond the shape of its members.

Each function takes a request that passed `validation` and yields sentences; none means accepted.
Some sentences are limits of this server, not of SageMaker's: those say so.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from local.sagemaker.errors import ValidationError
from local.sagemaker.records import Json

HERE = "is not offered by the SageMaker of one machine"
MAX_PAYLOAD_MB = 100
MODES_THAT_STREAM = ("Pipe",)


def refuse(faults: Iterable[str]) -> None:
    """Raise ValidationError with all of them, if any."""
    found = list(faults)
    if found:
        raise ValidationError(" ".join(found))


def model_faults(request: Json) -> Iterator[str]:
    """CreateModel."""
    if ("PrimaryContainer" in request) == ("Containers" in request):
        yield "Exactly one of PrimaryContainer and Containers must be given."
        return
    containers = request.get("Containers") or [request.get("PrimaryContainer", {})]
    if len(containers) > 1:
        yield f"An inference pipeline of {len(containers)} containers {HERE}."
    for container in containers:
        yield from _container_faults(container)
    if "ExecutionRoleArn" not in request:
        yield "ExecutionRoleArn must be given."


def _container_faults(container: Json) -> Iterator[str]:
    if "Image" not in container:
        yield f"A container without Image {HERE}."
    data_url = container.get("ModelDataUrl", "")
    if "ModelDataSource" in container:
        yield "Batch transform takes no model with ModelDataSource: give ModelDataUrl."
    elif not data_url.startswith("s3://"):
        yield "ModelDataUrl must be an s3:// address."
    elif not data_url.endswith(".tar.gz"):
        yield f"ModelDataUrl {data_url} must name a .tar.gz file."


def transform_faults(request: Json) -> Iterator[str]:
    """CreateTransformJob."""
    concurrent, payload_mb = request.get("MaxConcurrentTransforms"), request.get("MaxPayloadInMB")
    if payload_mb is not None and payload_mb > MAX_PAYLOAD_MB:
        yield f"MaxPayloadInMB {payload_mb} must not exceed {MAX_PAYLOAD_MB}."
    elif concurrent and payload_mb and concurrent * payload_mb > MAX_PAYLOAD_MB:
        yield (
            f"MaxConcurrentTransforms * MaxPayloadInMB must not exceed {MAX_PAYLOAD_MB}: "
            f"{concurrent} * {payload_mb} = {concurrent * payload_mb}."
        )
    source = request["TransformInput"]["DataSource"]["S3DataSource"]
    if source["S3DataType"] not in ("ManifestFile", "S3Prefix"):
        yield f"S3DataType {source['S3DataType']} is not compatible with transform jobs."
    yield from _address_faults("TransformInput S3Uri", source["S3Uri"])
    yield from _address_faults("S3OutputPath", request["TransformOutput"]["S3OutputPath"])
    for option in ("SplitType", "CompressionType"):
        value = request["TransformInput"].get(option, "None")
        if value != "None":
            yield f"{option} {value} {HERE}."
    yield from _processing_faults(request)


def _processing_faults(request: Json) -> Iterator[str]:
    if "DataCaptureConfig" in request:
        yield f"DataCaptureConfig {HERE}."
    processing = request.get("DataProcessing", {})
    if processing.get("JoinSource", "None") != "None":
        yield f"JoinSource {HERE}: it takes text records only."
    for name in ("InputFilter", "OutputFilter"):
        if processing.get(name, "$") != "$":
            yield f"{name} {HERE}: it takes text records only."


def training_faults(request: Json) -> Iterator[str]:
    """CreateTrainingJob."""
    algorithm = request.get("AlgorithmSpecification", {})
    if "AlgorithmName" in algorithm:
        yield f"AlgorithmName {HERE}."
    elif "TrainingImage" not in algorithm:
        yield "AlgorithmSpecification.TrainingImage must be given."
    yield from _metric_faults(algorithm)
    yield from _resource_faults(request)
    yield from _time_faults(request)
    output = request["OutputDataConfig"]
    yield from _address_faults("S3OutputPath", output["S3OutputPath"])
    if output.get("CompressionType", "GZIP") != "GZIP":
        yield f"OutputDataConfig CompressionType {output['CompressionType']} {HERE}."
    if "CheckpointConfig" in request:
        yield from _address_faults("CheckpointConfig S3Uri", request["CheckpointConfig"]["S3Uri"])
    channels = request.get("InputDataConfig", [])
    names = Counter(channel["ChannelName"] for channel in channels)
    for name, count in names.items():
        if count > 1:
            yield f"Channel name {name} is given {count} times."
    for channel in channels:
        yield from _channel_faults(channel, algorithm.get("TrainingInputMode", "File"))


def _metric_faults(algorithm: Json) -> Iterator[str]:
    for definition in algorithm.get("MetricDefinitions", []):
        try:
            groups = re.compile(definition["Regex"]).groups
        except re.error as error:
            yield f"Regex of metric {definition['Name']} is not valid: {error}."
            continue
        if groups == 0:
            yield f"Regex of metric {definition['Name']} has no group to take the value from."


def _resource_faults(request: Json) -> Iterator[str]:
    resources = request.get("ResourceConfig")
    if resources is None:
        yield "ResourceConfig must be given."
        return
    for name in ("InstanceGroups", "InstancePreferences", "TrainingPlanArn"):
        if name in resources:
            yield f"ResourceConfig.{name} {HERE}."
            return
    if "InstanceType" not in resources:
        yield "ResourceConfig.InstanceType must be given."
    for name in ("InstanceCount", "VolumeSizeInGB"):
        if resources.get(name, 0) < 1:
            yield f"ResourceConfig.{name} must be at least 1."


def _time_faults(request: Json) -> Iterator[str]:
    condition = request.get("StoppingCondition")
    if condition is None:
        yield "StoppingCondition must be given."
        return
    runtime, wait = condition.get("MaxRuntimeInSeconds"), condition.get("MaxWaitTimeInSeconds")
    if not request.get("EnableManagedSpotTraining", False):
        if wait is not None:
            yield "MaxWaitTimeInSeconds goes with EnableManagedSpotTraining only."
    elif wait is None:
        yield "EnableManagedSpotTraining needs MaxWaitTimeInSeconds."
    elif runtime is not None and wait < runtime:
        yield f"MaxWaitTimeInSeconds {wait} must not be below MaxRuntimeInSeconds {runtime}."


def _channel_faults(channel: Json, default_mode: str) -> Iterator[str]:
    name = channel["ChannelName"]
    source = channel["DataSource"].get("S3DataSource")
    if source is None:
        yield f"Channel {name}: a DataSource other than S3DataSource {HERE}."
        return
    yield from _address_faults(f"Channel {name}: S3Uri", source["S3Uri"])
    if channel.get("CompressionType", "None") != "None":
        yield f"Channel {name}: CompressionType {channel['CompressionType']} {HERE}."
    mode = channel.get("InputMode", default_mode)
    if source["S3DataType"] == "AugmentedManifestFile":
        if mode not in MODES_THAT_STREAM:
            yield f"Channel {name}: AugmentedManifestFile needs input mode Pipe, not {mode}."
        if not source.get("AttributeNames"):
            yield f"Channel {name}: AugmentedManifestFile needs AttributeNames."
    elif source["S3DataType"] == "Converse":
        yield f"Channel {name}: S3DataType Converse {HERE}."
    elif source.get("AttributeNames"):
        yield f"Channel {name}: AttributeNames go with AugmentedManifestFile only."


def _address_faults(what: str, address: str) -> Iterator[str]:
    if not address.startswith("s3://"):
        yield f"{what} {address} must start with s3://."
