"""SageMaker for one machine: the API as boto3 speaks it, with jobs that really run.

`server` (HTTP) → `validation` and `rules` (may this request pass?) → `operations` (what it does) →
`runner` (a thread per job) → `training_job` and `transform_job`. Records, listings, manifests,
metrics and events are values, decided by pure functions in the modules of those names.
"""

from local.sagemaker.programs import DEFAULT, Programs
from local.sagemaker.progress import JobProgress
from local.sagemaker.server import SageMakerServer
from local.sagemaker.settings import Quotas, Timing

__all__ = ["DEFAULT", "JobProgress", "Programs", "Quotas", "SageMakerServer", "Timing"]
