"""The ``train`` program: settings → network and channels → loop → artefact.

Exit code 0 leaves a model; 2 means that the request or its data must change, 1 that the job
failed otherwise; both leave the reason in ``/opt/ml/output/failure``.
"""

import logging
import os
import signal
import threading

from training.algorithm.channels import check_channels
from training.algorithm.failure import (
    JobFailedError,
    describe_failure,
    write_failure,
)
from training.algorithm.hyperparameters import class_names, load_hyperparameters
from training.algorithm.log import LOGGER, set_up_logging
from training.algorithm.place import Place, read_place
from training.algorithm.settings import TrainSettings, layout_from, read_train_settings


def main() -> int:
    """Run a training job and return its exit code; every failure is logged and written down."""
    set_up_logging()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: stop.set())
    place = read_place(os.environ)
    if place and not place.is_main:
        LOGGER.setLevel(logging.WARNING)
    try:
        return _train(read_train_settings(os.environ), stop, place)
    except Exception as error:  # noqa: BLE001  # whatever it is, the job must say so
        reason, log_line, exit_code = describe_failure(error)
        LOGGER.log(logging.ERROR, log_line, exc_info=not isinstance(error, JobFailedError))
        if place is None or place.leads_host:
            write_failure(layout_from(os.environ).failure, reason)
        return exit_code


def _train(settings: TrainSettings, stop: threading.Event, place: Place | None) -> int:
    chosen = load_hyperparameters(settings.layout.hyperparameters)
    classes = class_names(chosen, settings.classes)
    check_channels(settings.layout, group_records=chosen.group_records)
    # Imported when the request is known to be good: a bad one is answered at once, not after
    # the seconds that loading torch takes.
    if place is None:
        from training.algorithm.hardware import count_gpus  # noqa: PLC0415
        from training.algorithm.processes import launch, plan_processes  # noqa: PLC0415

        processes = plan_processes(settings.layout, count_gpus())
        if processes.total > 1:
            return launch(processes, settings.layout)
    from training.algorithm.job import run_job  # noqa: PLC0415

    run_job(chosen, settings, classes, stop, place or Place())
    return 0
