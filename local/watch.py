"""The loop of `tomodrop run`: files go up as they come, results come down as they are made."""

import threading
import time
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import watchfiles

from local.cloud import Activity, Cloud
from local.drop import DropFolder
from local.errors import LocalCloudError
from local.folders import LeftOut, printable
from local.mirror import Mirror
from local.patience import Patience
from local.plan import Answer, Lookup
from local.progress import Screen, Status, gone_on, work_status
from local.summary import row_of
from local.unnamable import publish_rejection
from tomodrop import keys

TURN_SECONDS = 1.0
UPLOAD_SECONDS = 2.0
# Network drives and some containers give no events, so folders are listed anyway every so often.
LOOK_SECONDS = 10.0
# The last job's report comes after its results.
SETTLE_SECONDS = 60.0
MAX_SAID = 10
LOOKUP = Lookup(keys.prediction_key, keys.rejection_key)


class Ending(Enum):
    """Why the loop ended."""

    COMPLETE = "every file in the inbox has its JSON"
    UNUSABLE = "some files cannot be uploaded; every other file has its JSON"
    STALLED = "nothing moves any more"
    STOPPED = "stopped"


class Watch:
    """Carries files to the cloud and results back, until told or done."""

    def __init__(
        self,
        cloud: Cloud,
        inbox: DropFolder,
        labelled: DropFolder | None,
        mirror: Mirror,
        screen: Screen,
        stop: threading.Event,
    ) -> None:
        self._cloud, self._inbox, self._labelled = cloud, inbox, labelled
        self._mirror, self._screen, self._stop = mirror, screen, stop
        self._patience = Patience()
        self._looked = 0.0
        self._said: set[LeftOut] = set()
        self._gone_on: set[str] = set()
        self._activity = cloud.activity()
        self.answers: dict[str, Answer] = {}

    def run(self, changes: Iterator[bool], *, once: bool) -> Ending:
        """Turn after turn. `changes` paces them: it yields whether the folders changed.

        With `once` the loop ends by itself, else when `stop` is set.
        """
        for changed in changes:
            self._turn(changed=changed)
            if self._stop.is_set():
                break
            ending = self._ending()
            if ending and once:
                self._settle()
                return ending
            if ending is Ending.STALLED:
                self._screen.say("Nothing has moved for a long time; still waiting.", "yellow")
                self._patience = Patience()
        return Ending.STOPPED

    def first_look(self) -> int:
        """Compare the inbox with the bucket; returns how many files are up as they are now."""
        self._look()
        uploaded = self._inbox.recognise()
        self._mirror.refresh()
        self._compare()
        return uploaded

    @property
    def missing(self) -> list[str]:
        """Files without their JSON, fit to be printed."""
        return [
            printable(file.key.removeprefix(keys.INCOMING))
            for file in self._inbox.files
            if file.key not in self.answers
        ]

    def _turn(self, *, changed: bool) -> None:
        if changed or time.monotonic() - self._looked > LOOK_SECONDS or self._inbox.open_count:
            self._look()
        for folder in self._folders():
            folder.upload(UPLOAD_SECONDS)
        self._say_left_out()
        self._mirror.refresh()
        before = self.answers
        self._compare()
        self._say_new(before)
        self._activity = self._cloud.activity()
        self._say_gone_on()
        self._screen.show(self._status(self._activity))

    def _folders(self) -> list[DropFolder]:
        return [folder for folder in (self._inbox, self._labelled) if folder]

    def _look(self) -> None:
        for folder in self._folders():
            folder.look()
        self._looked = time.monotonic()

    def _compare(self) -> None:
        self.answers = LOOKUP.answered(self._inbox.uploads, self._mirror.answers)

    def _status(self, activity: Activity) -> Status:
        total, left = len(self._inbox.files), self._inbox.open_count
        if left:
            return Status("uploading", total - left, total)
        return work_status(
            activity.jobs,
            queued=activity.queue_waiting + activity.queue_in_flight,
            answered=len(self.answers),
            total=total,
            collecting=bool(activity.invocations_running.get("CollectFunction")),
        )

    def _ending(self) -> Ending | None:
        if not self._inbox.open_count and len(self.answers) == len(self._inbox.uploads):
            clean = not self._inbox.unusable and not self._mirror.problems
            return Ending.COMPLETE if clean else Ending.UNUSABLE
        return Ending.STALLED if self._patience.is_over(self._progress()) else None

    def _progress(self) -> tuple[Any, ...]:
        """What changes whenever something moves. Queue counts rise and fall without progress."""
        jobs = tuple((job.name, job.status, job.detail, job.done) for job in self._activity.jobs)
        return len(self.answers), self._inbox.open_count, jobs

    def _settle(self) -> None:
        """Let the functions that still write their reports come to an end; fetch those too."""
        ends = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < ends and not self._stop.is_set():
            if not self._cloud.activity().invocations_running.get("CollectFunction"):
                break
            self._screen.show(Status("fetching the report", counted=False))
            self._stop.wait(TURN_SECONDS / 2)
        if not self._stop.is_set() and any(a.status == "predicted" for a in self.answers.values()):
            self._compare_with_training()
        self._mirror.refresh()

    def _compare_with_training(self) -> None:
        """A sweep makes the page of drift; the next one would find the cloud gone."""
        self._screen.show(Status("comparing what came in with what was learnt", counted=False))
        try:
            self._cloud.fire("SweepFunction")
        except LocalCloudError as error:
            self._screen.say(f"No page of drift was made: {error}", "yellow")

    def _say_new(self, before: Mapping[str, Answer]) -> None:
        new = [key for key in self.answers if before.get(key) != self.answers[key]]
        for key in sorted(new)[:MAX_SAID]:
            row = row_of(key.removeprefix(keys.INCOMING), self.answers[key])
            self._screen.say(f"{row.file}: {row.result} ({row.detail})", "dim")
        if len(new) > MAX_SAID:
            self._screen.say(f"… and {len(new) - MAX_SAID:,} more results", "dim")

    def _say_gone_on(self) -> None:
        """Say once of each job that was interrupted how much of it need not be done again."""
        for job in self._activity.jobs:
            if job.before and job.name not in self._gone_on:
                self._gone_on.add(job.name)
                self._screen.say(gone_on(job))

    def _say_left_out(self) -> None:
        """Say once what is not uploaded, and leave a JSON for what S3 cannot take."""
        for folder in self._folders():
            unusable = folder.unusable
            new = [found for found in (*unusable, *folder.skipped) if found not in self._said]
            for found in new[:MAX_SAID]:
                style = "red" if found in unusable else "dim"
                self._screen.say(f"{found.path}: not uploaded, {found.reason}", style)
            if len(new) > MAX_SAID:
                self._screen.say(f"… and {len(new) - MAX_SAID:,} more that are not uploaded", "dim")
            self._said.update(new)
            if folder is self._inbox:
                self._reject(set(new).intersection(folder.unnamable))

    def _reject(self, unnamable: set[LeftOut]) -> None:
        s3, outputs = self._cloud.client("s3"), self._cloud.outputs
        for left_out in unnamable:
            publish_rejection(s3, outputs["UploadsBucket"], outputs["PredictionsBucket"], left_out)


def turns(stop: threading.Event) -> Iterator[bool]:
    """One turn a second, with no news of the folders: they are listed every so often."""
    while not stop.is_set():
        yield False
        stop.wait(TURN_SECONDS)


def turns_with_news(folders: list[Path], stop: threading.Event) -> Iterator[bool]:
    """A turn a second, or as soon as a file changes; yields whether one did.

    Where the operating system cannot watch, it is as `turns`.
    """
    yield True
    try:
        for changes in watchfiles.watch(
            *folders,
            stop_event=stop,
            watch_filter=None,
            yield_on_timeout=True,
            rust_timeout=round(TURN_SECONDS * 1000),
            raise_interrupt=False,
        ):
            yield bool(changes)
    except OSError:
        yield from turns(stop)
