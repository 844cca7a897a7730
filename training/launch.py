"""Start a training or a transform job by hand, with the sagemaker SDK.

    python -m training.launch train --train s3://b/train.manifest --validation s3://b/val.manifest \
        --role arn:aws:iam::123456789012:role/r --image IMAGE --output s3://b/training \
        --hyperparameter num_classes=2 --hyperparameter num_training_samples=1984
    python -m training.launch transform --model-data s3://b/model.tar.gz --role ROLE --image IMAGE \
        --manifest s3://b/manifest.json --output s3://b/out

The requests are those of the retrain and dispatch steps. Where they go, AWS or the stack of one
machine, is in the environment (AWS_ENDPOINT_URL and its kind); nothing here knows.
"""

import logging
import sys

from training.launching.options import TrainingOptions, TransformOptions, read_options

INSTALL = "pip install sagemaker==3.27.0"


def main(arguments: list[str]) -> int:
    """Start what is asked for, print the job's name, and return the exit code."""
    options = read_options(arguments)
    # The SDK takes seconds to load: the command line is known to be good by now.
    try:
        import sagemaker.train  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        sys.stderr.write(f"The sagemaker SDK is not installed ({error}): {INSTALL}\n")
        return 2
    logging.getLogger("sagemaker").setLevel(logging.WARNING)
    return _start(options)


def _start(options: TrainingOptions | TransformOptions) -> int:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    from sagemaker.core.utils.exceptions import SageMakerCoreError  # noqa: PLC0415

    from training.launching.jobs import start_training, start_transform  # noqa: PLC0415

    try:
        if isinstance(options, TrainingOptions):
            name = start_training(options)
        else:
            name = start_transform(options)
    except (BotoCoreError, ClientError, SageMakerCoreError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
