"""The few numbers that AWS fixes and a machine (or a test) may want otherwise."""

from dataclasses import dataclass

MAX_FAILURE_REASON = 1024
DEFAULT_MAX_RUNTIME_S = 24 * 60 * 60


@dataclass(frozen=True)
class Identity:
    """Whose cloud this is: goes into every ARN and event."""

    account: str
    region: str

    def arn(self, kind: str, name: str) -> str:
        """The ARN of a model, training-job or transform-job."""
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{name}"


@dataclass(frozen=True)
class Quotas:
    """Instances that may run at the same time.

    One training fills a machine; two transform jobs let a small batch pass a large one.
    """

    training_instances: int = 1
    transform_instances: int = 2


@dataclass(frozen=True)
class Timing:
    """Waits in seconds. The defaults are SageMaker's own where it has any."""

    stop_grace_s: float = 120.0
    server_start_s: float = 1800.0
    server_stop_s: float = 10.0
    ping_timeout_s: float = 2.0
    poll_s: float = 0.1
    checkpoint_sync_s: float = 15.0
    retry_first_s: float = 0.2
    retry_most_s: float = 20.0
    emit_retry_first_s: float = 0.5
    emit_retry_max_s: float = 30.0
