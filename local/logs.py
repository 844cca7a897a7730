"""Where functions and jobs wrote what they did: below the state folder."""

import json
import shutil
from pathlib import Path

# Enough of a log to see why something failed.
KEPT_BYTES = 4 * 1024 * 1024


class Logs:
    """The logs of one state folder."""

    def __init__(self, state: Path) -> None:
        self.folder = state / "logs"
        self._state = state

    def of_function(self, name: str) -> Path:
        """Log of a function, by its logical id; it may not be there yet."""
        return self.folder / f"{name}.log"

    def of_job(self, job: str) -> Path:
        """Log of a training or transform job; the logs' folder if it has none."""
        found = sorted(self._state.glob(f"**/{job}/log.txt"))
        return found[0] if found else self.folder

    def last_message(self, function: str, beginning: str) -> str | None:
        """The rest of the function's last message (JSON lines, among others) that begins so."""
        log = self.of_function(function)
        if not log.is_file():
            return None
        for line in reversed(log.read_text(encoding="utf-8", errors="replace").splitlines()):
            message = _message(line)
            if message.startswith(beginning):
                return message.removeprefix(beginning)
        return None

    def keep(self, out: Path) -> Path | None:
        """Copy all logs to `out`/logs, of long ones the end; None if there are none."""
        kept = out / "logs"
        logs = [*self.folder.glob("*.log"), *self._state.glob("**/log.txt")]
        for log in logs:
            name = log.name if log.parent == self.folder else f"{log.parent.name}.txt"
            kept.mkdir(parents=True, exist_ok=True)
            _copy_end(log, kept / name)
        return kept if logs else None


def _message(line: str) -> str:
    try:
        return str(json.loads(line)["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def _copy_end(log: Path, copy: Path) -> None:
    with log.open("rb") as source, copy.open("wb") as target:
        source.seek(max(0, log.stat().st_size - KEPT_BYTES))
        shutil.copyfileobj(source, target)
