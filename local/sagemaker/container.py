"""The folder that a container sees as /opt/ml, and the files SageMaker puts there."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from local.sagemaker.records import Json

HOST = "algo-1"


@dataclass(frozen=True)
class JobFolder:
    """One job's place on disk: /opt/ml below `root`, and what outlives the container beside it."""

    root: Path

    @property
    def base(self) -> Path:
        """What the container sees as /opt/ml."""
        return self.root / "opt" / "ml"

    @property
    def model(self) -> Path:
        """Where training leaves the model, and serving finds it."""
        return self.base / "model"

    @property
    def data(self) -> Path:
        """Channels: a folder each in File mode, FIFOs in Pipe mode."""
        return self.base / "input" / "data"

    @property
    def output_data(self) -> Path:
        """What becomes output.tar.gz."""
        return self.base / "output" / "data"

    @property
    def failure(self) -> Path:
        """The program's own account of its failure."""
        return self.base / "output" / "failure"

    @property
    def checkpoints(self) -> Path:
        """Kept when a job runs again."""
        return self.base / "checkpoints"

    @property
    def log(self) -> Path:
        """Standard output and error of the program."""
        return self.root / "log.txt"

    @property
    def data_log(self) -> Path:
        """What became of each object of a transform job, where it went wrong."""
        return self.root / "data-log.txt"

    def lay_out(self) -> None:
        """Make the folders afresh; checkpoints and logs of an earlier run stay."""
        kept = self.root / "kept"
        if self.checkpoints.exists():
            shutil.rmtree(kept, ignore_errors=True)
            self.checkpoints.rename(kept)
        self.clear(keep=kept)
        for folder in (self.model, self.data, self.output_data, self.base / "input" / "config"):
            folder.mkdir(parents=True)
        (self.root / "tmp").mkdir()
        if kept.exists():
            kept.rename(self.checkpoints)
        self.checkpoints.mkdir(exist_ok=True)

    def clear(self, keep: Path | None = None) -> None:
        """Remove everything but the logs (weights are large, and in S3 by now)."""
        for path in self.root.iterdir() if self.root.exists() else ():
            if path.is_dir() and path != keep:
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix == ".gz":
                path.unlink()

    def write_config(self, name: str, content: Json) -> None:
        """Write input/config/<name>."""
        path = self.base / "input" / "config" / name
        path.write_text(json.dumps(content), encoding="utf-8")

    def read_failure(self) -> str:
        """The program's own account of its failure, or nothing."""
        try:
            return self.failure.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""


def training_config(description: Json, folder: JobFolder) -> dict[str, Json]:
    """File name → content of everything in input/config for one training job."""
    default_mode = description["AlgorithmSpecification"]["TrainingInputMode"]
    files: dict[str, Json] = {
        "hyperparameters.json": description.get("HyperParameters", {}),
        "inputdataconfig.json": {
            channel["ChannelName"]: _channel_config(channel, default_mode)
            for channel in description.get("InputDataConfig", [])
        },
        "resourceconfig.json": {
            "current_host": HOST,
            "current_instance_type": description["ResourceConfig"]["InstanceType"],
            "hosts": [HOST],
            "network_interface_name": "eth0",
        },
    }
    if "CheckpointConfig" in description:
        # The path as this container sees it: there is no other root here.
        files["checkpointconfig.json"] = {"LocalPath": str(folder.checkpoints)}
    return files


def _channel_config(channel: Json, default_mode: str) -> Json:
    source = channel["DataSource"]["S3DataSource"]
    config = {
        "ContentType": channel.get("ContentType"),
        "TrainingInputMode": channel.get("InputMode", default_mode),
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    return {key: value for key, value in config.items() if value is not None}
