"""Where SageMaker puts a container's input and looks for its output."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_BASE = Path("/opt/ml")


@dataclass(frozen=True, slots=True)
class Layout:
    """The ``/opt/ml`` tree below ``base``; every path of the contract is named here once."""

    base: Path = DEFAULT_BASE

    @property
    def hyperparameters(self) -> Path:
        """JSON object of strings."""
        return self.base / "input" / "config" / "hyperparameters.json"

    @property
    def input_data_config(self) -> Path:
        """JSON object: channel name → its settings."""
        return self.base / "input" / "config" / "inputdataconfig.json"

    @property
    def resource_config(self) -> Path:
        """JSON object with the hosts of the job."""
        return self.base / "input" / "config" / "resourceconfig.json"

    @property
    def checkpoint_config(self) -> Path:
        """JSON object with the LocalPath of checkpoints; only there when the job has them."""
        return self.base / "input" / "config" / "checkpointconfig.json"

    @property
    def model(self) -> Path:
        """What becomes ``model.tar.gz``; read from here again when serving."""
        return self.base / "model"

    @property
    def output_data(self) -> Path:
        """What becomes ``output.tar.gz``."""
        return self.base / "output" / "data"

    @property
    def failure(self) -> Path:
        """The text SageMaker shows as FailureReason."""
        return self.base / "output" / "failure"

    def channel(self, name: str) -> Path:
        """The folder of a channel in File mode."""
        return self.base / "input" / "data" / name

    def fifo(self, channel: str, epoch: int) -> Path:
        """The FIFO of one pass over ``channel``; ``epoch`` counts passes from 0."""
        return self.base / "input" / "data" / f"{channel}_{epoch}"
