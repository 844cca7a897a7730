"""What a job's request says of a key and a network of the customer's own: nothing without them."""

import re
from typing import Any

from tomodrop.settings import Settings

# Instances with disks of their own. These are encrypted by the hardware, and SageMaker refuses a
# key for them (SageMaker API, "ResourceConfig", VolumeKmsKeyId): the families with a d after the
# generation (g4dn, p4d, c6id), and those that come in no other form.
_HAS_LOCAL_DISKS = re.compile(r"ml\.([a-z]+\d+[a-z]*d|[gp]([5-9]|\d\d)|(gr|i|trn)\d)[^.]*\.")


def volume_key(settings: Settings, instance_type: str) -> dict[str, str]:
    """`VolumeKmsKeyId` of a training's or transform job's resources."""
    if not settings.kms_key_arn or _HAS_LOCAL_DISKS.match(instance_type):
        return {}
    return {"VolumeKmsKeyId": settings.kms_key_arn}


def output_key(settings: Settings) -> dict[str, str]:
    """`KmsKeyId` of a job's output."""
    return {"KmsKeyId": settings.kms_key_arn} if settings.kms_key_arn else {}


def network(settings: Settings) -> dict[str, Any]:
    """`VpcConfig` of a training job or a model; a transform job has its model's."""
    if not settings.subnet_ids:
        return {}
    return {
        "VpcConfig": {
            "SecurityGroupIds": list(settings.security_group_ids),
            "Subnets": list(settings.subnet_ids),
        }
    }
