"""Near the end of a job: the shipped network as OpenVINO's files, for serving without PyTorch.

Which precision is served in is measured: the beginning of a pass over train brings the slices that
whole numbers are fitted to, a pass over validation those that every precision answers.
:mod:`precision` decides.
"""

import contextlib
import importlib.util
import io
import logging
import tempfile
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.algorithm.artefact import (
    AS_LEARNED,
    GRAPH,
    NUMBERS,
    QUANTISED,
    add_openvino,
)
from training.algorithm.cpu import count_cores, cpu_flags, cpu_name
from training.algorithm.data import as_rows
from training.algorithm.engines import Levels
from training.algorithm.failure import StoppedError
from training.algorithm.log import LOGGER, Progress
from training.algorithm.metrics import score
from training.algorithm.openvino_engine import OpenvinoEngine
from training.algorithm.openvino_library import load_openvino
from training.algorithm.passes import Run
from training.algorithm.precision import (
    BF16,
    FP32,
    INT8,
    NEEDED_FLAGS,
    NONE,
    Choice,
    Measured,
    choose,
    has_flags,
    is_exact_enough,
)
from training.algorithm.torch_engine import ServedNetwork, load_classifier

CALIBRATION_SLICES = 300
"""So many are read, mixed, from the start of a pass, which then ends."""
VALIDATION_SLICES = 500
"""At most about so many are looked at, every nth of a channel that has more."""
_CHUNK = 16


@dataclass(frozen=True, slots=True)
class Slices:
    """Grey levels (N, H, W, C), and labels as in :class:`Batch`."""

    images: Levels
    labels: torch.Tensor


def export(run: Run, folder: Path) -> None:
    """Give the model in ``folder`` its exported network, or log why it has none.

    A model is worth more than its export: whatever goes wrong here does not fail the job.
    """
    if run.chosen.serving_precision == NONE:
        return
    if importlib.util.find_spec("openvino") is None:
        LOGGER.info("OpenVINO is not installed: the model is not exported, PyTorch will serve it")
        return
    try:
        # Within the model's folder, so that what is finished can be moved.
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as unfinished:
            choice = _Export(run, folder, Path(unfinished)).export()
    except StoppedError:
        LOGGER.warning("Told to stop: the model is not exported, serving it needs PyTorch")
    except Exception as error:  # noqa: BLE001  # OpenVINO's and NNCF's have no base but this
        LOGGER.warning("The model is not exported, serving it needs PyTorch: %s", error)
    else:
        LOGGER.info("Exported, to be served in %s: %s", choice.precision, choice.reason)


@dataclass(frozen=True, slots=True)
class _Export:
    """One export; ``unfinished`` is a folder for the files of the networks."""

    run: Run
    folder: Path
    unfinished: Path

    def export(self) -> Choice:
        """Convert, measure, choose, and put what is needed into the model's folder."""
        run, flags = self.run, cpu_flags()
        network = convert(self.folder, run.chosen.image_shape)
        graphs = {AS_LEARNED: self._save(network, AS_LEARNED)}
        validation = _validation_slices(run)
        measured = {
            precision: measure(graphs[AS_LEARNED], precision, validation, run.stop)
            for precision in (FP32, BF16)
            if has_flags(precision, flags)
        }
        if has_flags(INT8, flags) and _can_quantise():
            graphs[QUANTISED], measured[INT8] = self._quantise(network, validation, measured[FP32])
        choice = choose(measured, run.chosen.serving_precision)
        if choice.precision != INT8:
            graphs.pop(QUANTISED, None)
        files = {
            base + end: graph.with_suffix(end)
            for base, graph in graphs.items()
            for end in (GRAPH, NUMBERS)
        }
        add_openvino(self.folder, files, _describe(choice, measured, len(validation.images)))
        return choice

    def _quantise(
        self, network: Any, validation: Slices, reference: Measured
    ) -> tuple[Path, Measured]:
        """Give whole numbers to all convolutions, or to fewer where that loses too much."""
        run = self.run
        images = _calibration_slices(run)
        for careful in (False, True):
            quantised = quantise(network, images, run.stop, careful=careful)
            graph = self._save(quantised, QUANTISED)
            measured = measure(graph, INT8, validation, run.stop)
            if is_exact_enough(measured, reference):
                break
        return graph, measured

    def _save(self, network: Any, base: str) -> Path:
        graph = self.unfinished / (base + GRAPH)
        # Half the size; what it changes is part of what is measured.
        load_openvino().save_model(network, graph, compress_to_fp16=True)
        return graph


def convert(folder: Path, image_shape: tuple[int, int, int]) -> Any:
    """Return the model in ``folder`` as OpenVINO's, for one image; see :class:`ServedNetwork`."""
    LOGGER.info("Export, converting the network")
    channels, height, width = image_shape
    one = torch.zeros(1, height, width, channels, dtype=torch.uint8)
    network = ServedNetwork(*load_classifier(folder)).eval()
    with warnings.catch_warnings(), torch.no_grad():
        # OpenVINO's converter uses what PyTorch would rather see replaced.
        warnings.simplefilter("ignore")
        return load_openvino().convert_model(network, example_input=one, input=list(one.shape))


def quantise(network: Any, images: Levels, stop: threading.Event, *, careful: bool) -> Any:
    """Return ``network`` with whole numbers in its convolutions, fitted to these images.

    The head and the maps stay as they are; ``careful``: so do the first layer and the last stage,
    which most often are what whole numbers do not suit.

    :raises StoppedError: when told to stop.
    """
    load_openvino()  # before NNCF, which would send an event as well
    # Whoever waits for the job sees by these lines that it is not stuck.
    LOGGER.info("Export, fitting int8")
    progress = Progress("Export, fitting int8", len(images), 1)

    def give(image: Levels) -> Levels:
        _check_stop(stop)
        progress.add(1)
        return image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import nncf  # noqa: PLC0415

        nncf.set_log_level(logging.ERROR)
    # It draws bars of progress, which have no place in a job's log.
    with contextlib.redirect_stdout(io.StringIO()):
        return nncf.quantize(
            network,
            nncf.Dataset(list(np.split(images, len(images))), give),
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(
                types=["MatMul"],
                patterns=_delicate(network) if careful else [],
                validate=False,
            ),
        )


def measure(graph: Path, precision: str, slices: Slices, stop: threading.Event) -> Measured:
    """Answer for all ``slices``, and return how well and how fast.

    :raises StoppedError: when told to stop.
    """
    engine = OpenvinoEngine(graph, precision, count_cores())
    engine.run(slices.images[:1])
    parts = []
    progress = Progress(f"Export, measuring {precision}", len(slices.images), _CHUNK)
    started = time.perf_counter()
    for start in range(0, len(slices.images), _CHUNK):
        _check_stop(stop)
        parts.append(engine.run(slices.images[start : start + _CHUNK]).scores)
        progress.add(len(parts[-1]))
    seconds = time.perf_counter() - started
    found = score(torch.from_numpy(np.concatenate(parts)), slices.labels)
    return Measured(found.accuracy, found.auc, len(slices.images) / seconds)


def _check_stop(stop: threading.Event) -> None:
    if stop.is_set():
        raise StoppedError("told to stop before the export was finished")


def _delicate(network: Any) -> list[str]:
    """Return patterns of the names in the first layer and the last stage."""
    names = [node.get_friendly_name() for node in network.get_ordered_ops()]
    last = "layer4" if any("resnet.layer4." in name for name in names) else "layer3"
    return [r".*resnet\.conv1/.*", rf".*resnet\.{last}\..*"]


def _can_quantise() -> bool:
    if importlib.util.find_spec("nncf") is not None:
        return True
    LOGGER.info("NNCF is not installed: whole numbers are not tried")
    return False


def _calibration_slices(run: Run) -> Levels:
    """Take slices from the start of train's next pass, and end it: a large channel has no use here.

    Mixed as for learning, so that a run of one class at its start does not fill them.
    """
    enough = min(CALIBRATION_SLICES, run.chosen.num_training_samples)
    progress = Progress("Export, train", enough, run.chosen.mini_batch_size)
    images: list[Levels] = []
    with run.train.batches(shuffled=True) as batches:
        for batch in batches:
            images.append(as_rows(batch.images))
            progress.add(len(batch.labels))
            if sum(map(len, images)) >= CALIBRATION_SLICES:
                break
    return np.concatenate(images)[:CALIBRATION_SLICES]


def _validation_slices(run: Run) -> Slices:
    """Keep every nth slice of validation's next pass."""
    count = run.validation_samples or 0
    every = max(1, -(-count // VALIDATION_SLICES))
    progress = Progress("Export, validation", count // every, run.chosen.mini_batch_size)
    images, labels = [], []
    with run.validation.batches(share=(0, every)) as batches:
        for batch in batches:
            images.append(as_rows(batch.images))
            labels.append(batch.labels)
            progress.add(len(batch.labels))
    return Slices(np.concatenate(images), torch.cat(labels))


def _describe(choice: Choice, measured: dict[str, Measured], samples: int) -> dict[str, Any]:
    """Return ``serving`` of ``model.json``."""
    flags = cpu_flags() & frozenset().union(*NEEDED_FLAGS.values())
    return {
        "precision": choice.precision,
        "kept": list(choice.kept),
        "reason": choice.reason,
        "cpu": {"name": cpu_name(), "flags": sorted(flags), "cores": count_cores()},
        "samples": samples,
        "measured": {name: each.as_json() for name, each in measured.items()},
    }
