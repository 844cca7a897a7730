"""A labelled set as intake leaves it, and what is gathered of it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from tests.functions.builders import lines_of, source
from tomodrop import dataset, keys, objects
from tomodrop.clients import App
from tomodrop.pixels import Pixels
from tomodrop.retraining import SCHEMA
from tomodrop.scratch import scratch_tables
from tomodrop.slices import IndexLine, Label, write_lines


def pixels_of(text: str, phash: str | None = None, **values: Any) -> Pixels:
    """Numbers of a made-up picture: other texts are other pictures, far from each other."""
    digest = sha256(text.encode()).hexdigest()
    numbers = {"mean": 100.0, "spread": 50.0, "lit_share": 0.5, "sha256": digest} | values
    return Pixels.model_validate(numbers | {"phash": digest if phash is None else phash})


def near(text: str, bits: int) -> str:
    """A hash that differs from the one of `text` in so many bits, spread all over."""
    value = int(sha256(text.encode()).hexdigest(), 16)
    for place in range(bits):
        value ^= 1 << (place * 256 // bits)
    return f"{value:064x}"


def label(
    app: App, *paths: str, count: int = 1, pixels: Pixels | None = None, **processing: Any
) -> list[IndexLine]:
    """Labelled uploads <class>/<group>/<file>, each taken in and named in a part of its own."""
    lines: list[IndexLine] = []
    for path in paths:
        name, group, _ = path.split("/", 2)
        key = f"{keys.LABELLED}{path}"
        put = app.s3.put_object(Bucket=app.settings.uploads_bucket, Key=key, Body=path.encode())
        of = source(key, put["VersionId"], f"{len(lines):04X}", etag=put["ETag"].strip('"'))
        made = [
            line.model_copy(
                update={
                    "pixels": pixels or pixels_of(f"{path} {line.index}"),
                    "processing": line.processing | processing,
                }
            )
            for line in lines_of(of, count, Label(name=name, group=group))
        ]
        write_part(app, path.replace("/", "-"), made)
        lines += made
    return lines


def write_part(app: App, name: str, lines: list[IndexLine]) -> None:
    """An index part."""
    key = f"{keys.DATASET_INDEX}{name}.jsonl"
    objects.write(app.s3, app.settings.work_bucket, key, write_lines(lines), "application/jsonl")


@contextmanager
def gathered(app: App) -> Iterator[sqlite3.Connection]:
    """The tables of the labelled set."""
    with scratch_tables(SCHEMA) as tables:
        dataset.gather(app, tables)
        yield tables


def usable(app: App) -> list[tuple[str, int, str]]:
    """Every slice to learn from: its id, label and group, in slice order."""
    with gathered(app) as tables:
        rows = tables.execute(
            "SELECT name, number, label, grp FROM slice JOIN upload ON upload.id = slice.upload "
            "ORDER BY name, number"
        )
        return [(f"{name}-{number:05d}", label, group) for name, number, label, group in rows]
