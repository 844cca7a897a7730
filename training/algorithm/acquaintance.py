"""The last work of a job: summarise the slices that the shipped model knows.

One more pass over train, as it is, and one over validation, in the shipped weights and the
precision that they serve in. Of a large channel every nth slice is looked at.
"""

from pathlib import Path

import numpy as np

from training.algorithm.appearance import Floats
from training.algorithm.artefact import add_typicality
from training.algorithm.data import Channel, as_rows
from training.algorithm.failure import JobFailedError, StoppedError
from training.algorithm.inference import Predictor
from training.algorithm.log import LOGGER, Progress
from training.algorithm.passes import Run
from training.algorithm.typicality import Typicality, check_counts
from training.algorithm.views import look_at

ENOUGH_SLICES = 4096


def summarise(run: Run, folder: Path) -> None:
    """Give the model in ``folder`` its typicality, or log why it has none.

    A model is worth more than this summary: whatever a channel brings here does not fail the job.
    """
    counts = run.chosen.num_training_samples, run.validation_samples or 0
    try:
        # Before another pass is waited for.
        check_counts(*counts)
        predictor = Predictor.load(folder)
        train = _look(run, run.train, predictor, counts[0])
        held_out = _look(run, run.validation, predictor, counts[1])
        add_typicality(folder, Typicality.fit(train, held_out).state())
    except StoppedError:
        LOGGER.warning("Told to stop: the model cannot tell how typical a slice is")
    except (JobFailedError, ValueError) as error:
        LOGGER.warning("The model cannot tell how typical a slice is: %s", error)
    else:
        LOGGER.info("The model can tell how typical a slice is")


def _look(run: Run, channel: Channel, predictor: Predictor, count: int) -> dict[str, Floats]:
    """Collect the views of a channel's next pass, of at most about ``ENOUGH_SLICES``."""
    every = max(1, -(-count // ENOUGH_SLICES))
    # Whoever waits for the job sees by these lines that it is not stuck.
    progress = Progress(f"Typicality, {channel.name}", count // every, run.chosen.mini_batch_size)
    parts: list[dict[str, Floats]] = []
    with channel.batches(share=(0, every)) as batches:
        for batch in batches:
            images = as_rows(batch.images)
            parts.append(look_at(images, predictor.features(images)))
            progress.add(len(batch.labels))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
