"""Runs the jobs: a thread each, again after a restart, none left behind at the end."""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local.sagemaker import training_record, transform_record
from local.sagemaker.container import JobFolder
from local.sagemaker.errors import InternalJobError, ServerClosingError
from local.sagemaker.events import announced
from local.sagemaker.job import Control, Job, Tools
from local.sagemaker.outbox import Outbox
from local.sagemaker.progress import JobProgress, Progress
from local.sagemaker.records import Change, Json, Kind, Record, RecordStore
from local.sagemaker.training_job import run_training
from local.sagemaker.transform_job import run_transform

logger = logging.getLogger(__name__)
SHOWN_AFTER_END_S = 60.0
CLOSE_TIMEOUT_S = 30.0
FOLDERS: dict[Kind, str] = {"training-job": "training", "transform-job": "transform"}


@dataclass
class _Run:
    record_kind: Kind
    name: str
    thread: threading.Thread
    control: Control
    progress: Progress
    ended_at: float | None = None


class Runner:
    """The instances of this SageMaker."""

    def __init__(self, store: RecordStore, outbox: Outbox, tools: Tools, state_dir: Path) -> None:
        self._store = store
        self._outbox = outbox
        self._tools = tools
        self._state_dir = state_dir
        self._lock = threading.Lock()
        self._closed = False
        self._runs: dict[tuple[Kind, str], _Run] = {}

    def announce(self, record: Record) -> Record:
        """The record with the event of its present state to be sent."""
        now = time.time()
        return announced(record, self._tools.identity, str(uuid.uuid4()), now)

    def start(self, record: Record) -> None:
        """Run a job whose record is in the store."""
        run = self._new_run(record)
        with self._lock:
            if self._closed:
                return  # its record is there: it runs at the next start
            self._runs[record.kind, record.name] = run
            run.thread.start()
        self._outbox.wake(record.kind, record.name)
        # Someone may have asked for a stop before there was anything to stop.
        if status_of(self._store.get(record.kind, record.name)) == "Stopping":
            run.control.stop()

    def stop(self, kind: Kind, name: str) -> None:
        """Have a running job end as Stopped."""
        self._outbox.wake(kind, name)
        with self._lock:
            run = self._runs.get((kind, name))
        if run:
            run.control.stop()

    def resume(self) -> None:
        """Before any request: run unfinished jobs again and send what was not delivered."""
        for record in self._store:
            if record.kind == "model":
                continue
            if not has_ended(record):
                self._store.put(self._interrupted(record))
                self.start(record)
                continue
            # The last run may have ended without the time to clear up.
            self._folder(record).clear()
            if record.undelivered:
                self._outbox.wake(record.kind, record.name)

    def close(self) -> None:
        """End every program; the records stay as they are, to be resumed."""
        with self._lock:
            self._closed = True
            runs = list(self._runs.values())
        for run in runs:
            run.control.close()
        deadline = time.monotonic() + CLOSE_TIMEOUT_S
        for run in runs:
            run.thread.join(max(0.0, deadline - time.monotonic()))

    def progress(self) -> list[JobProgress]:
        """Running jobs, and those that ended within the last minute, oldest first."""
        now = time.time()
        with self._lock:
            runs = list(self._runs.items())
            for key, run in runs:
                if run.ended_at is not None and now - run.ended_at > SHOWN_AFTER_END_S:
                    del self._runs[key]
        return [self._shown(run) for _, run in runs]

    def _shown(self, run: _Run) -> JobProgress:
        record = self._store.get(run.record_kind, run.name)
        detail, done, total = run.progress.now()
        ended = has_ended(record)
        return JobProgress(
            kind="training" if record.kind == "training-job" else "transform",
            name=record.name,
            status=status_of(record),
            detail=record.description.get("FailureReason", "") if ended else detail,
            done=done,
            total=total,
            started_at=record.description["CreationTime"],
            before=run.progress.before,
        )

    def _interrupted(self, record: Record) -> Record:
        """A training that runs again says so, as one on Spot does."""
        if record.kind != "training-job" or status_of(record) == "Stopping":
            return record
        now = time.time()
        if record.notes.get("ending") or record.description["SecondaryStatus"] == "Starting":
            return record
        broken = self.announce(training_record.enter(record, "Interrupted", now))
        return self.announce(training_record.enter(broken, "Starting", now))

    def _new_run(self, record: Record) -> _Run:
        kind, name = record.kind, record.name
        control, progress = Control(), Progress()
        job = Job(
            folder=self._folder(record),
            tools=self._tools,
            control=control,
            progress=progress,
            read=lambda: self._store.get(kind, name),
            change=lambda change: self._change(kind, name, change),
        )
        run = run_training if kind == "training-job" else run_transform
        thread = threading.Thread(
            target=self._run, args=(run, job), name=f"{kind}-{name}", daemon=True
        )
        return _Run(kind, name, thread, control, progress)

    def _folder(self, record: Record) -> JobFolder:
        return JobFolder(self._state_dir / FOLDERS[record.kind] / record.name)

    def _run(self, run: Callable[[Job], None], job: Job) -> None:
        record = job.record
        try:
            run(job)
        except ServerClosingError:
            return
        except Exception as error:  # a thread's edge: the job must not stay InProgress
            if job.control.closing:
                return
            logger.exception("job %s ended by a fault of this server", record.name)
            fault = InternalJobError(f"{type(error).__name__}: {error}")
            job.change(lambda record: failed(record, str(fault), time.time()))
        with self._lock:
            self._runs[record.kind, record.name].ended_at = time.time()

    def _change(self, kind: Kind, name: str, change: Change) -> Record:
        """Store a change; announce it if the job's status moved with it."""

        def announcing(record: Record) -> Record:
            changed = change(record)
            return self.announce(changed) if _state(changed) != _state(record) else changed

        record = self._store.update(kind, name, announcing)
        self._outbox.wake(kind, name)
        return record


def _state(record: Record) -> tuple[Json | None, ...]:
    description = record.description
    return description.get("SecondaryStatus"), description.get("TransformJobStatus")


def status_of(record: Record) -> str:
    """The primary status of a job of either kind."""
    if record.kind == "training-job":
        return training_record.status_of(record)
    return transform_record.status_of(record)


def has_ended(record: Record) -> bool:
    """Whether a job will not change any more."""
    return status_of(record) in training_record.ENDED


def failed(record: Record, reason: str, now: float) -> Record:
    """A job of either kind, ended as Failed, unless it had ended already."""
    if has_ended(record):
        return record
    if record.kind == "training-job":
        return training_record.end(record, "Failed", now, failure_reason=reason)
    return transform_record.end(record, "Failed", now, reason)
