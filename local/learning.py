"""From labelled files to a live model, through the same scheduled retraining as on AWS."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from local.cloud import Cloud
from local.drop import DropFolder
from local.logs import Logs
from local.patience import Patience
from local.plan import Version
from local.progress import Screen, Status, decision_status, training_status
from tomodrop import keys
from tomodrop.live_model import NONE, LiveModel

POLL_SECONDS = 1.0
UPLOAD_SECONDS = 2.0
# A scheduled training that was under way already, then one on what is new.
MAX_TRAININGS = 2


@dataclass(frozen=True)
class Learnt:
    """The model that is live now, if any, and what went wrong on the way to a new one."""

    live: LiveModel | None
    problem: str | None = None


class Learning:
    """Uploads the labelled folder, lets the retraining run, and waits for its decision."""

    def __init__(
        self,
        cloud: Cloud,
        labelled: DropFolder,
        logs: Logs,
        screen: Screen,
        stop: threading.Event,
    ) -> None:
        self._cloud, self._labelled, self._logs = cloud, labelled, logs
        self._screen, self._stop = screen, stop
        self._sagemaker = cloud.client("sagemaker")

    def learn(self) -> Learnt:
        """Run until a decision on a model that knows all labelled files, or until there is none.

        Nothing is trained where the live model or a refused one saw the same files already.
        """
        problem = self._upload() or self._take_in()
        for _ in range(MAX_TRAININGS):
            if problem or self._stop.is_set() or not self._needs_training():
                break
            job = self._start()
            if job is None:
                problem = self._why_none()
                break
            problem = self._wait_for_decision(job)
        return Learnt(live_model(self._cloud), problem)

    def _upload(self) -> str | None:
        self._labelled.look()
        total, patience = len(self._labelled.files), Patience()
        while self._labelled.open_count and not self._stop.is_set():
            done = len(self._labelled.files) - self._labelled.open_count
            self._screen.show(Status("uploading labelled files", done, total))
            if not self._labelled.upload(UPLOAD_SECONDS):
                self._stop.wait(POLL_SECONDS)
                self._labelled.look()
            if patience.is_over(self._labelled.open_count):
                return f"{self._labelled.open_count} labelled files keep changing"
        unusable = self._labelled.unusable
        if unusable:
            first = f"{unusable[0].path}: {unusable[0].reason}"
            return f"{len(unusable)} labelled file(s) cannot be uploaded; {first}"
        return None

    def _take_in(self) -> str | None:
        total, patience, least = len(self._labelled.files), Patience(), None
        while not self._stop.is_set():
            activity = self._cloud.activity()
            left = activity.queue_waiting + activity.queue_in_flight
            if not left and not activity.invocations_running.get("IntakeFunction"):
                return None
            least = left if least is None else min(least, left)
            self._screen.show(Status("taking in labelled files", max(total - left, 0), total))
            if patience.is_over(least):
                return (
                    f"{left} labelled files are not taken in: {activity.dead_letters} dead letters"
                )
            self._stop.wait(POLL_SECONDS)
        return None

    def _needs_training(self) -> bool:
        trained = newest_completed(self._sagemaker.list_training_jobs)
        return needs_training(live_model(self._cloud), trained, self._labelled.stored)

    def _start(self) -> str | None:
        """Have the schedule fire now; the job that runs then, or ran already. None: no job."""
        self._screen.show(Status("starting the retraining", counted=False))
        job = self._running_job()
        if job is None:
            self._cloud.fire("RetrainFunction")
            job = self._newest_job()
        if job is None or self._decision(job):
            return None
        self._screen.say(f"Training job {job} runs.")
        return job

    def _wait_for_decision(self, job: str) -> str | None:
        patience = Patience()
        while not self._stop.is_set():
            decision = self._decision(job)
            if decision:
                return self._problem_of(job, decision)
            jobs = self._cloud.jobs()
            training = next((j for j in jobs if j.name == job), None)
            status = (
                training_status(training.detail, training.done)
                if training
                else decision_status(jobs)
            )
            self._screen.show(status)
            if patience.is_over(status):
                log = self._logs.of_job(job)
                return f"training job {job} makes no progress ({status.text}); log: {log}"
            self._stop.wait(POLL_SECONDS)
        return None

    def _problem_of(self, job: str, decision: Mapping[str, Any]) -> str | None:
        if decision["decision"] == "promoted":
            self._screen.say(f"Model {job} is live: {decision['reason']}.")
            return None
        log = self._logs.of_job(job)
        return f"training job {job} gave no new model: {decision['reason']}; log: {log}"

    def _decision(self, job: str) -> dict[str, Any] | None:
        s3, bucket = self._cloud.client("s3"), self._cloud.outputs["PredictionsBucket"]
        try:
            body = s3.get_object(Bucket=bucket, Key=f"{keys.MODELS}{job}/decision.json")["Body"]
        except s3.exceptions.NoSuchKey:
            return None
        decision: dict[str, Any] = json.loads(body.read())
        return decision

    def _running_job(self) -> str | None:
        running = self._sagemaker.list_training_jobs(StatusEquals="InProgress")
        names = [job["TrainingJobName"] for job in running["TrainingJobSummaries"]]
        return names[0] if names else None

    def _newest_job(self) -> str | None:
        newest = _newest_first(self._sagemaker.list_training_jobs)
        return newest[0]["TrainingJobName"] if newest else None

    def _why_none(self) -> str | None:
        reason = self._logs.last_message("RetrainFunction", "no training: ")
        if live_model(self._cloud) and reason and reason.startswith("nothing is new"):
            return None
        return f"no training was started: {reason or f'see {self._logs.folder}'}"


def live_model(cloud: Cloud) -> LiveModel | None:
    """The live model's record; None before the first promotion."""
    name = cloud.outputs["LiveModelParameter"]
    value = cloud.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    return None if value == NONE else LiveModel.model_validate_json(value)


def needs_training(
    live: LiveModel | None, trained: datetime | None, labelled: Mapping[str, Version]
) -> bool:
    """Whether labelled files came after the newest completed training, or nothing is live.

    A completed training counts even if its model was refused: the same files would be again.
    """
    if live is None or trained is None:
        return True
    return any(version.modified > trained for version in labelled.values())


def newest_completed(list_training_jobs: Any) -> datetime | None:
    """When the newest training that completed was started."""
    completed = _newest_first(list_training_jobs, StatusEquals="Completed")
    return completed[0]["CreationTime"] if completed else None


def _newest_first(list_training_jobs: Any, **filters: str) -> list[dict[str, Any]]:
    found = list_training_jobs(SortBy="CreationTime", SortOrder="Descending", **filters)
    summaries: list[dict[str, Any]] = found["TrainingJobSummaries"]
    return summaries
