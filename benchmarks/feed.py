"""Feeds one FIFO as SageMaker does: a process of its own that reads files and wraps them.

    python -m benchmarks.feed FIFO FOLDER COUNT

writes COUNT samples, image and label a record each, going round the files of FOLDER, whose names
end in `-<class>.png`, once it has said that it is ready. The reader may close early.
"""

import itertools
import sys
from contextlib import suppress
from pathlib import Path

from training.algorithm.records import write_record


def main(fifo: Path, folder: Path, count: int) -> None:
    files = itertools.islice(itertools.cycle(sorted(folder.iterdir())), count)
    print("ready", flush=True)
    with suppress(BrokenPipeError), fifo.open("wb") as stream:
        for path in files:
            label = path.stem.rpartition("-")[2].encode()
            stream.write(write_record(path.read_bytes()) + write_record(label))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
