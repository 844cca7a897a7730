"""A killed process loses nothing that it acknowledged."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.cloud import Cloud
from local.errors import StateError
from local.state import StateStore, StoredVersion

PROGRAMS = Path(__file__).parent / "programs"
SMALL_TEMPLATE = Path(__file__).parent / "data" / "template.yaml"
REPOSITORY = Path(__file__).parents[2]


def run_until_killed(state: Path, changes: int) -> list[dict[str, Any]]:
    """Let a process write, SIGKILL it after some changes; returns what it acknowledged."""
    writer = subprocess.Popen(
        [sys.executable, PROGRAMS / "write_until_killed.py", state],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": ""},
        text=True,
    )
    assert writer.stdout is not None
    acknowledged = [json.loads(writer.stdout.readline()) for _ in range(changes)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += [json.loads(line) for line in writer.stdout if line.endswith("}\n")]
    writer.stdout.close()
    writer.wait()
    return acknowledged


def processes_of(state: Path) -> list[str]:
    """Workers of a run on this state folder, by what their environment says (Linux)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:  # it has ended, or is not ours
            continue
        if str(state).encode() in environment:
            found.append(process.name)
    return found


def show_state(state: Path) -> dict[str, Any]:
    shown = subprocess.run(
        [sys.executable, PROGRAMS / "show_state.py", state],
        capture_output=True,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": ""},
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def of_kind(acknowledged: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [change for change in acknowledged if change["kind"] == kind]


def test_what_was_acknowledged_survives_sigkill(
    tmp_path: Path, eventually: Callable[[Callable[[], Any]], Any]
) -> None:
    acknowledged = run_until_killed(tmp_path, 60)
    eventually(lambda: not processes_of(tmp_path))  # its workers go with it
    acknowledged += run_until_killed(tmp_path, 40)
    found = show_state(tmp_path)

    puts = {change["version"]: change for change in of_kind(acknowledged, "put")}
    kept = {version["version"]: version for version in found["versions"]}
    assert len(puts) > 20
    assert set(puts) <= set(kept)
    for version, put in puts.items():
        same = {name: kept[version][name] for name in ("key", "etag", "sha256", "number")}
        assert same == {name: put[name] for name in same}
        assert kept[version]["type"] == "image/png"
    assert {c["version"] for c in of_kind(acknowledged, "marker")} <= set(found["markers"])
    assert {c["part"] for c in of_kind(acknowledged, "item")} <= set(found["parts"])
    # The last change may have been made without being acknowledged.
    last = int(of_kind(acknowledged, "parameter")[-1]["value"].removeprefix("model-"))
    assert found["parameter"] in (f"model-{last}", f"model-{last + 1}")

    announced = [
        record["s3"]["object"]["versionId"]
        for body in found["messages"]
        for record in json.loads(body).get("Records", [])
    ]
    deleted = [json.loads(c["body"]) for c in of_kind(acknowledged, "message deleted")]
    gone = {r["s3"]["object"]["versionId"] for body in deleted for r in body.get("Records", [])}
    assert set(puts) - gone <= set(announced)
    assert not gone & set(announced)
    assert len(announced) == len(set(announced))


class TestStateStore:
    def test_a_folder_serves_one_process_at_a_time(self, tmp_path: Path) -> None:
        first = StateStore(tmp_path)
        with pytest.raises(StateError, match="in use by another run"):
            StateStore(tmp_path)
        first.close()
        StateStore(tmp_path).close()

    def test_a_newer_format_is_refused(self, tmp_path: Path) -> None:
        StateStore(tmp_path).close()
        database = sqlite3.connect(tmp_path / "state.sqlite")
        database.execute("PRAGMA user_version = 99")
        database.close()
        with pytest.raises(StateError, match="newer version"):
            StateStore(tmp_path)

    def test_a_damaged_file_is_refused_and_not_touched(self, tmp_path: Path) -> None:
        (tmp_path / "state.sqlite").write_bytes(b"this is no database" * 1000)
        with pytest.raises(StateError, match="cannot be read"):
            StateStore(tmp_path)
        assert (tmp_path / "state.sqlite").read_bytes().startswith(b"this is no database")

    def test_bodies_without_a_row_are_removed_and_the_others_stay(self, tmp_path: Path) -> None:
        store = StateStore(tmp_path)
        kept_id, kept = store.new_body()
        _, half_written = store.new_body()
        kept.write_bytes(b"kept")
        half_written.write_bytes(b"ha")
        store.replace_versions("bucket", "key", [StoredVersion(kept_id, "bucket", "key", {"a": 1})])
        store.close()
        again = StateStore(tmp_path)
        assert kept.read_bytes() == b"kept"
        assert not half_written.exists()
        assert list(again.versions()) == [StoredVersion(kept_id, "bucket", "key", {"a": 1})]
        again.close()

    def test_versions_keep_their_order_and_lose_their_body_when_removed(
        self, tmp_path: Path
    ) -> None:
        store = StateStore(tmp_path)
        entries, paths = [], []
        for number in range(3):
            body_id, path = store.new_body()
            path.write_bytes(b"x")
            paths.append(path)
            entries.append(StoredVersion(body_id, "bucket", "key", {"number": number}))
            store.replace_versions("bucket", "key", entries)
        store.replace_versions("bucket", "key", [entries[0], entries[2]])
        assert [entry.about["number"] for entry in store.versions()] == [0, 2]
        assert [path.exists() for path in paths] == [True, False, True]
        store.close()

    def test_a_message_moves_between_queues_and_is_there_once(self, tmp_path: Path) -> None:
        store = StateStore(tmp_path)
        store.keep_message("work", "m1", {"body": "one"})
        store.keep_message("dead", "m1", {"body": "one"})
        assert [(m.queue, m.content) for m in store.messages()] == [("dead", {"body": "one"})]
        assert store.owners() == {"queue dead"}
        store.drop_message("m1")
        assert list(store.messages()) == []
        store.close()

    def test_a_version_whose_body_is_gone_is_named(self, tmp_path: Path) -> None:
        store = StateStore(tmp_path)
        body_id, _ = store.new_body()
        bucket = "small-uploads-123456789012"
        about = {"last_modified": "2026-11-24T12:00:00", "attributes": {}, "metadata": {}}
        store.replace_versions(bucket, "a key", [StoredVersion(body_id, bucket, "a key", about)])
        store.close()
        cloud = Cloud(template=SMALL_TEMPLATE, parameters={}, state_dir=tmp_path)
        with pytest.raises(StateError, match="a key: its body is missing"):
            cloud.start()
