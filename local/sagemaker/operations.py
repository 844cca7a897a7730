"""The operations: a valid request in, an answer out, or a refusal in SageMaker's words."""

import time
from collections.abc import Callable

from local.sagemaker import model_record, rules, training_record, transform_record
from local.sagemaker.errors import (
    ResourceInUseError,
    ResourceLimitExceededError,
    ResourceNotFoundError,
    UnknownOperationError,
    ValidationError,
)
from local.sagemaker.job import Tools
from local.sagemaker.listing import Listing, list_records
from local.sagemaker.objects import Address
from local.sagemaker.records import Change, Json, Kind, Record, RecordStore
from local.sagemaker.runner import Runner, has_ended, status_of
from local.sagemaker.settings import Quotas

MODELS = Listing("Models", model_record.summary, lambda _: "", descending=True)
TRAINING_JOBS = Listing(
    "TrainingJobSummaries", training_record.summary, training_record.status_of, descending=False
)
TRANSFORM_JOBS = Listing(
    "TransformJobSummaries", transform_record.summary, transform_record.status_of, descending=True
)


class Operations:
    """What this SageMaker offers, by operation name."""

    def __init__(
        self,
        store: RecordStore,
        runner: Runner,
        tools: Tools,
        quotas: Quotas,
    ) -> None:
        self._store = store
        self._runner = runner
        self._objects = tools.objects
        self._identity = tools.identity
        self._quotas = quotas
        self._handlers: dict[str, Callable[[Json], Json]] = {
            "CreateModel": self._create_model,
            "DescribeModel": lambda request: self._model(request["ModelName"]).description,
            "ListModels": lambda request: list_records(store.all("model"), request, MODELS),
            "DeleteModel": self._delete_model,
            "CreateTrainingJob": self._create_training_job,
            "DescribeTrainingJob": lambda request: self._training_job(request).description,
            "ListTrainingJobs": lambda request: list_records(
                store.all("training-job"), request, TRAINING_JOBS
            ),
            "StopTrainingJob": self._stop_training_job,
            "CreateTransformJob": self._create_transform_job,
            "DescribeTransformJob": self._describe_transform_job,
            "ListTransformJobs": lambda request: list_records(
                store.all("transform-job"), request, TRANSFORM_JOBS
            ),
            "StopTransformJob": self._stop_transform_job,
            "AddTags": self._add_tags,
            "DeleteTags": self._delete_tags,
            "ListTags": lambda request: {"Tags": _tag_list(self._tagged(request).tags)},
        }

    def require(self, operation: str) -> None:
        """Raise UnknownOperationError for one that is not offered."""
        if operation not in self._handlers:
            raise UnknownOperationError(
                f"{operation or 'No operation'} is not offered by the SageMaker of one machine. "
                f"It offers {', '.join(self._handlers)}."
            )

    def call(self, operation: str, request: Json) -> Json:
        """Carry out a valid request. Raises RequestError."""
        return self._handlers[operation](request)

    def _create_model(self, request: Json) -> Json:
        rules.refuse(rules.model_faults(request))
        data_url = model_record.container_of(request)["ModelDataUrl"]
        if not self._objects.exists(Address.parse(data_url)):
            raise ValidationError(f"Could not find model data at {data_url}.")
        record = model_record.new_model(request, self._identity, _now())
        with self._store.lock:
            if self._store.find("model", record.name):
                raise ValidationError(f'Cannot create already existing model "{record.arn}".')
            self._store.put(record)
        return {"ModelArn": record.arn}

    def _delete_model(self, request: Json) -> Json:
        with self._store.lock:
            self._store.remove("model", self._model(request["ModelName"]).name)
        return {}

    def _create_training_job(self, request: Json) -> Json:
        rules.refuse(rules.training_faults(request))
        record = training_record.new_training_job(request, self._identity, _now())
        self._admit(record, training_record.instances_of, self._quotas.training_instances)
        return {"TrainingJobArn": record.arn}

    def _stop_training_job(self, request: Json) -> Json:
        record = self._training_job(request)
        return self._stop(record, lambda record: training_record.enter(record, "Stopping", _now()))

    def _create_transform_job(self, request: Json) -> Json:
        rules.refuse(rules.transform_faults(request))
        container = model_record.container_of(self._model(request["ModelName"]).description)
        record = transform_record.new_transform_job(request, container, self._identity, _now())
        self._admit(record, transform_record.instances_of, self._quotas.transform_instances)
        return {"TransformJobArn": record.arn}

    def _describe_transform_job(self, request: Json) -> Json:
        name = request["TransformJobName"]
        record = self._store.find("transform-job", name)
        if record is None:
            raise ValidationError(f"Could not find requested job with name: {name}")
        return record.description

    def _stop_transform_job(self, request: Json) -> Json:
        name = request["TransformJobName"]
        record = self._store.find("transform-job", name)
        if record is None:
            raise ValidationError(f"Could not find job to update with name: {name}")
        return self._stop(record, lambda record: transform_record.stopping(record, _now()))

    def _stop(self, job: Record, enter_stopping: Change) -> Json:
        def change(record: Record) -> Record:
            status = status_of(record)
            if status != "InProgress":
                raise ValidationError(
                    f"The request was rejected because the {_noun(record.kind)} is in status "
                    f"{status}."
                )
            return self._runner.announce(enter_stopping(record))

        self._store.update(job.kind, job.name, change)
        self._runner.stop(job.kind, job.name)
        return {}

    def _admit(self, record: Record, instances_of: Callable[[Record], int], limit: int) -> None:
        """Take the job and run it, if its name is new and instances are free."""
        with self._store.lock:
            if self._store.find(record.kind, record.name):
                raise ResourceInUseError(
                    "Job name must be unique within an AWS account and region, and a job with "
                    f"this name already exists ({record.arn})"
                )
            others = self._store.all(record.kind)
            used = sum(instances_of(other) for other in others if not has_ended(other))
            wanted = instances_of(record)
            if used + wanted > limit:
                raise ResourceLimitExceededError(_limit_text(record, limit, used, wanted))
            self._store.put(self._runner.announce(record))
        self._runner.start(record)

    def _model(self, name: str) -> Record:
        record = self._store.find("model", name)
        if record is None:
            raise ValidationError(f'Could not find model "{self._identity.arn("model", name)}".')
        return record

    def _training_job(self, request: Json) -> Record:
        record = self._store.find("training-job", request["TrainingJobName"])
        if record is None:
            raise ValidationError("Requested resource not found.")
        return record

    def _tagged(self, request: Json) -> Record:
        arn = request["ResourceArn"]
        for record in self._store:
            if record.arn == arn:
                return record
        raise ResourceNotFoundError(f"Resource {arn} does not exist")

    def _add_tags(self, request: Json) -> Json:
        added = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        return {"Tags": _tag_list(self._retag(request, lambda tags: {**tags, **added}))}

    def _delete_tags(self, request: Json) -> Json:
        gone = set(request["TagKeys"])
        self._retag(request, lambda tags: {k: v for k, v in tags.items() if k not in gone})
        return {}

    def _retag(
        self, request: Json, change: Callable[[dict[str, str]], dict[str, str]]
    ) -> dict[str, str]:
        record = self._tagged(request)
        changed = self._store.update(
            record.kind, record.name, lambda record: record.tagged(change(record.tags))
        )
        return changed.tags


def _noun(kind: Kind) -> str:
    return kind.replace("-", " ")


def _limit_text(record: Record, limit: int, used: int, wanted: int) -> str:
    resources = record.description.get("ResourceConfig") or record.description["TransformResources"]
    return (
        f"The account-level service limit '{resources['InstanceType']} for {_noun(record.kind)} "
        f"usage' is {limit} Instances, with current utilization of {used} Instances and a request "
        f"delta of {wanted} Instances. "
        "Please use AWS Service Quotas to request an increase for this quota."
    )


def _tag_list(tags: dict[str, str]) -> list[Json]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _now() -> float:
    """SageMaker's times carry milliseconds."""
    return round(time.time(), 3)
