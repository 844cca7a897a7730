"""One run from start to end: the cloud comes up, learns, answers, goes down, tells how it was."""

import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from local.cloud import Cloud
from local.drop import DropFolder
from local.errors import LocalCloudError, StateError, TemplateError
from local.invoke import write_environment
from local.learning import Learning, live_model
from local.logs import Logs
from local.mirror import Mirror
from local.options import TEMPLATE, Options, template_parameters
from local.progress import Screen, Status
from local.starting_model import put_starting_model
from local.summary import NOTICE, count_line, places, results_table
from local.watch import Ending, Watch, turns, turns_with_news
from tomodrop import keys

# A schedule of one minute fires every five seconds; nobody waits for a minute at a screen.
SCHEDULE_SPEED = 12.0
EXIT_DONE, EXIT_NOT_DONE, EXIT_REFUSED = 0, 1, 2
MAX_NAMED = 10


def run(options: Options, console: Console) -> int:
    """Carry out `options`, which were checked; returns the exit code."""
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        state = options.state or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="tomodrop-"))
        )
        screen = stack.enter_context(Screen(console))
        logs = Logs(state)
        code = EXIT_NOT_DONE
        try:
            code = _run_cloud(options, state, logs, screen, stop)
        except (StateError, TemplateError) as error:
            screen.say(str(error), "red")
            return EXIT_REFUSED
        except LocalCloudError as error:
            screen.say(f"The cloud on this machine failed: {error}", "red")
        except KeyboardInterrupt:
            screen.say("Stopped at once.")
        if code != EXIT_DONE:
            _point_to_logs(options, logs, screen)
        return code


def _run_cloud(
    options: Options, state: Path, logs: Logs, screen: Screen, stop: threading.Event
) -> int:
    screen.show(Status("starting the cloud on this machine", counted=False))
    options.out.mkdir(parents=True, exist_ok=True)
    state.mkdir(parents=True, exist_ok=True)
    with Cloud(
        template=TEMPLATE,
        parameters=template_parameters(options),
        state_dir=state,
        schedule_speed=SCHEDULE_SPEED,
    ) as cloud:
        write_environment(state, cloud.functions, cloud.environment)
        try:
            return _Run(options, cloud, logs, screen, stop).run()
        finally:
            screen.show(Status("stopping", counted=False))


class _Run:
    """What a run does once the cloud is up."""

    def __init__(
        self, options: Options, cloud: Cloud, logs: Logs, screen: Screen, stop: threading.Event
    ) -> None:
        self._options, self._cloud, self._logs = options, cloud, logs
        self._screen, self._stop = screen, stop
        s3, uploads = cloud.client("s3"), cloud.outputs["UploadsBucket"]
        self._inbox = DropFolder(s3, uploads, options.inbox, keys.INCOMING)
        self._labelled = (
            DropFolder(s3, uploads, options.labelled, keys.LABELLED) if options.labelled else None
        )
        self._mirror = Mirror(s3, cloud.outputs["PredictionsBucket"], options.out)
        self._watch = Watch(cloud, self._inbox, self._labelled, self._mirror, screen, stop)

    def run(self) -> int:
        """Learn, answer, tell."""
        if self._options.starting_model:
            self._screen.show(Status("uploading the starting model", counted=False))
            work = self._cloud.outputs["WorkBucket"]
            put_starting_model(self._cloud.client("s3"), work, self._options.starting_model)
        if self._labelled:
            learnt = Learning(self._cloud, self._labelled, self._logs, self._screen, self._stop)
            problem = learnt.learn().problem
            if problem:
                self._screen.say(f"No new model: {problem}", "red")
            self._mirror.refresh()
            self._say_rejected_labels()
        if not self._stop.is_set() and not self._may_answer():
            return EXIT_NOT_DONE
        self._say_resumed()
        return self._tell(self._watch.run(self._turns(), once=self._options.once))

    def _turns(self) -> Iterator[bool]:
        if self._options.once:
            return turns(self._stop)
        self._screen.say(f"Watching {self._options.inbox}; Ctrl-C ends it.")
        folders = [self._options.inbox, *filter(None, [self._options.labelled])]
        return turns_with_news(folders, self._stop)

    def _may_answer(self) -> bool:
        """Whether there is a model, or may come to be one while the run goes on."""
        model = live_model(self._cloud)
        if model:
            self._screen.say(f"Live model: {model.model_name}.")
            return True
        self._screen.say(
            "There is no live model, so nothing can be classified. "
            + (
                "Correct the labelled files and run again."
                if self._labelled
                else "Give --labelled."
            ),
            "red",
        )
        return False

    def _say_resumed(self) -> None:
        self._screen.show(Status("comparing the inbox with what is uploaded", counted=False))
        uploaded = self._watch.first_look()
        total = len(self._inbox.files)
        if uploaded:
            done = len(self._watch.answers)
            self._screen.say(f"{done:,} of {total:,} files already done.")
        elif not total:
            self._screen.say("The inbox is empty.")

    def _say_rejected_labels(self) -> None:
        rejected = [key for key in self._mirror.keys if key.startswith(keys.REJECTED_LABELLED)]
        if rejected:
            where = self._options.out / keys.REJECTED_LABELLED
            self._screen.say(
                f"{len(rejected):,} labelled files were rejected; see {where}", "yellow"
            )

    def _tell(self, ending: Ending) -> int:
        """Say how it ended; returns the exit code."""
        if ending is Ending.STOPPED:
            self._screen.say(f"Stopped. {self._done_and_open()}")
            self._screen.say(NOTICE, "bold")
            return EXIT_NOT_DONE if self._options.once else EXIT_DONE
        self._show_results()
        for problem in list(self._mirror.problems.values())[:MAX_NAMED]:
            self._screen.say(problem, "red")
        if ending is not Ending.COMPLETE:
            self._screen.say(f"Not done: {ending.value}. {self._done_and_open()}", "red")
        if ending is Ending.STALLED:
            self._screen.say(self._why(), "red")
        self._screen.say(NOTICE, "bold")
        return EXIT_DONE if ending is Ending.COMPLETE else EXIT_NOT_DONE

    def _show_results(self) -> None:
        answers, console = self._watch.answers, self._screen.console
        if answers:
            console.print()
            console.print(results_table(answers, keys.INCOMING))
            console.print()
        self._screen.say(count_line(answers))
        for what, path in places(self._options.out, self._mirror.keys):
            self._screen.say(f"{what}: {path}")

    def _done_and_open(self) -> str:
        missing, total = self._watch.missing, len(self._inbox.files)
        done = f"{total - len(missing):,} of {total:,} files have their JSON"
        if not missing:
            return f"{done}."
        named = ", ".join(missing[:MAX_NAMED]) + (", …" if len(missing) > MAX_NAMED else "")
        return f"{done}; {len(missing):,} are open: {named}."

    def _why(self) -> str:
        activity = self._cloud.activity()
        failed = self._cloud.client("sagemaker").list_transform_jobs(StatusEquals="Failed")
        names = [job["TransformJobName"] for job in failed["TransformJobSummaries"]]
        return (
            f"In the queue: {activity.queue_waiting} waiting, {activity.queue_in_flight} in hand; "
            f"dead letters: {activity.dead_letters}; "
            f"failed transform jobs: {', '.join(names[:MAX_NAMED]) or 'none'}."
        )


def _point_to_logs(options: Options, logs: Logs, screen: Screen) -> None:
    """Logs in a temporary folder would go with it: they are copied to OUT."""
    where = logs.folder if options.state else logs.keep(options.out)
    if where:
        screen.say(f"Logs: {where}", "yellow")


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; a second Ctrl-C interrupts at once."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
