"""Uploads side by side with their results, from sorted listings, in bounded memory.

S3 lists keys in the order of their UTF-8 bytes. A result is named after its upload (`a` → `a.json`,
see `keys.result_name`), and that changes the order: `a`, `a.b` become `a.b.json`, `a.json`. So
uploads are held back until no later one can come before them. `a` waits for the keys that begin
with it and go on with less than `.json`; what waits at one moment are beginnings of one key, at
most as many as it has bytes. Only keys so long that their names are cut can be more: those that
have all certain bytes (`keys.CERTAIN_NAME_BYTES`) in common.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from tomodrop import keys
from tomodrop.listings import Stored, Upload

# Beginnings of one key are at most 1,024. More come of keys with cut names, which hardly anyone
# has: so many are compared, those beyond are left alone.
MOST_HELD = 10_000


@dataclass(frozen=True, slots=True)
class Row:
    """All that goes by one name. `upload` None: there are only results.

    `results`: one for each folder that was given, None where it has none.
    """

    name: str
    upload: Upload | None
    results: tuple[Stored | None, ...]


class ByName:
    """Uploads in the order of their results' names.

    `uploads` come in the order of their keys; `held` were read by an earlier run, which ended
    before their turn. `left_alone`: how many were not compared, see `MOST_HELD`.
    """

    def __init__(
        self, uploads: Iterator[Upload], held: Iterable[Upload] = (), most_held: int = MOST_HELD
    ) -> None:
        self._uploads = uploads
        self._held = [(_name(upload), upload.key, upload) for upload in held]
        heapify(self._held)
        self._most_held = most_held
        self._bound: bytes | None = b""  # of names still to come; None: there are none
        self.last_key = ""
        self.left_alone = 0

    def peek(self) -> tuple[bytes, Upload] | None:
        """The next name and its upload; None after the last."""
        while self._bound is not None and not (self._held and self._held[0][0] < self._bound):
            self._read()
        if not self._held:
            return None
        name, _, upload = self._held[0]
        return name, upload

    def pop(self) -> None:
        """Go past what `peek` gave."""
        heappop(self._held)

    @property
    def held(self) -> list[Upload]:
        """Uploads that were read, and whose turn has not come."""
        return [upload for _, _, upload in self._held]

    def _read(self) -> None:
        upload = next(self._uploads, None)
        if upload is None:
            self._bound = None
            return
        self.last_key = upload.key
        self._bound = least_name(upload.key)
        if len(self._held) >= self._most_held and self._held[0][0] >= self._bound:
            self.left_alone += 1
            return
        heappush(self._held, (_name(upload), upload.key, upload))


def least_name(key: str) -> bytes:
    """No key from this one on has a result whose name comes before this."""
    path = key.removeprefix(keys.INCOMING if key.startswith(keys.INCOMING) else keys.LABELLED)
    return path.encode()[: keys.CERTAIN_NAME_BYTES]


def _name(upload: Upload) -> bytes:
    return keys.result_name(upload.key).encode()


class _Results:
    """The results of one folder, one at a time."""

    def __init__(self, folder: str, results: Iterator[Stored]) -> None:
        self._folder = folder
        self._results = results
        self.advance()

    def advance(self) -> None:
        self.head = next(self._results, None)
        self.name = self.head.key.removeprefix(self._folder).encode() if self.head else None


def side_by_side(uploads: ByName, results: Sequence[tuple[str, Iterator[Stored]]]) -> Iterator[Row]:
    """A row for each name that an upload or a result has, in order of names.

    `results`: a folder and the sorted listing of it, for each folder.
    """
    folders = [_Results(folder, listing) for folder, listing in results]
    while True:
        waiting = uploads.peek()
        names = [folder.name for folder in folders if folder.name is not None]
        if waiting:
            names.append(waiting[0])
        if not names:
            return
        name = min(names)
        found: list[Stored | None] = []
        for folder in folders:
            is_it = folder.name == name
            found.append(folder.head if is_it else None)
            if is_it:
                folder.advance()
        upload = None
        if waiting and waiting[0] == name:
            upload = waiting[1]
            uploads.pop()
        yield Row(name.decode(), upload, tuple(found))
