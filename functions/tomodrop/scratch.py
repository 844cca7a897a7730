"""Tables on the function's own disk, for sorting and joining more than memory holds.

SQLite keeps `_CACHE_KIB` of them in memory and sorts the rest with files of its own, so that
memory does not grow with the rows. Nothing here is kept: no journal is written, and the folder goes
when its work is done.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

_CACHE_KIB = 96 * 1024
_PRAGMAS = (
    "journal_mode=OFF",
    "synchronous=OFF",
    "locking_mode=EXCLUSIVE",
    "temp_store=FILE",
    f"cache_size=-{_CACHE_KIB}",
)


@contextmanager
def scratch_tables(schema: str) -> Iterator[sqlite3.Connection]:
    """A database that lives as long as its context, with the tables of `schema` (SQL)."""
    with (
        TemporaryDirectory(prefix="tomodrop-") as folder,
        # What is uploaded is read by a thread of boto3's, while its caller waits.
        closing(
            sqlite3.connect(Path(folder) / "scratch.sqlite", check_same_thread=False)
        ) as tables,
    ):
        for pragma in _PRAGMAS:
            tables.execute(f"PRAGMA {pragma}")
        tables.executescript(schema)
        yield tables
