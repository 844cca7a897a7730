"""The transform job as a value: what is asked of SageMaker for one attempt at some slices."""

import json
from typing import Any

from tomodrop import keys
from tomodrop.instances import Choice
from tomodrop.keys import EvaluationName, JobName
from tomodrop.protection import output_key, volume_key
from tomodrop.settings import Settings

# A normalised slice is some ten kB; concurrency x payload may be at most 100 MB.
_MAX_PAYLOAD_MB = 6
# The built-in image classification knows the plain form only.
_ACCEPT = {"plain": "application/jsonlines", "verbose": "application/jsonlines;verbose=1"}
_WITH_MAP = ";map=1"


def transform_request(
    settings: Settings, job: JobName | EvaluationName, model_name: str, choice: Choice
) -> dict[str, Any]:
    """The CreateTransformJob request (SageMaker API, "CreateTransformJob").

    One image per request (`SplitType` None); `application/jsonlines` is the answer form that the
    built-in algorithm gives in batch, so `AssembleWith` Line. Ours tells more when asked to.
    """
    work = settings.work_bucket
    return {
        "TransformJobName": str(job),
        "ModelName": model_name,
        "MaxConcurrentTransforms": settings.max_concurrent_transforms,
        "MaxPayloadInMB": _MAX_PAYLOAD_MB,
        "BatchStrategy": "SingleRecord",
        "TransformInput": {
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "ManifestFile",
                    "S3Uri": f"s3://{work}/{keys.job_manifest(job)}",
                }
            },
            "ContentType": "application/x-image",
            "CompressionType": "None",
            "SplitType": "None",
        },
        "TransformOutput": {
            "S3OutputPath": f"s3://{work}/{keys.job_outputs(job).rstrip('/')}",
            "Accept": _ACCEPT[settings.answer_detail]
            + (_WITH_MAP if settings.keep_class_maps else ""),
            "AssembleWith": "Line",
            **output_key(settings),
        },
        "TransformResources": {
            "InstanceType": choice.instance_type,
            "InstanceCount": choice.instance_count,
            **volume_key(settings, choice.instance_type),
        },
    }


def transform_manifest(work_bucket: str, folder: str, slice_ids: list[str]) -> bytes:
    """The job's manifest: one prefix, then the slices (SageMaker API, "TransformS3DataSource")."""
    prefix = {"prefix": f"s3://{work_bucket}/{folder}"}
    return json.dumps([prefix, *(f"{slice_id}.png" for slice_id in slice_ids)]).encode()
