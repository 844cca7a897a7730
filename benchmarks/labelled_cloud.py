"""As much of S3, SSM and SageMaker as retraining asks for, with a labelled set made as it is read.

    python -m benchmarks.labelled_cloud SLICES SLICES_PER_UPLOAD UPLOADS_PER_PART

Prints where it listens and serves until standard input ends. Nothing is stored: an index part is
written anew each time it is read, and what is put is counted. Every thousandth slice is a copy of a
slice of another upload.
"""

import hashlib
import json
import random
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tomodrop.imaging.version import NORMALISER
from tomodrop.keys import upload_id

WORK, UPLOADS, PREDICTIONS = "tomodrop-work", "tomodrop-uploads", "tomodrop-predictions"
CLASSES = ("covid", "non_covid")  # in the order of S3's listing
UPLOADS_PER_GROUP = 2
_PAGE = 1000
_TIME = "2026-11-24T15:39:00.000Z"
_COPIES = 997
_TARGETS = {
    "GetParameter": {"Parameter": {"Value": "none"}},
    "ListTrainingJobs": {"TrainingJobSummaries": []},
    "CreateTrainingJob": {"TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:x/y"},
}


class LabelledSet:
    """Uploads of so many slices each, numbered from 0; the first half of them is of one class."""

    def __init__(self, slices: int, per_upload: int, per_part: int) -> None:
        self.uploads = slices // per_upload
        self.per_upload, self.per_part = per_upload, per_part
        self.parts = -(-self.uploads // per_part)

    def key(self, upload: int) -> str:
        """Keys ascend with the number."""
        name = CLASSES[2 * upload >= self.uploads]
        return f"labelled/{name}/p{upload // UPLOADS_PER_GROUP:08d}/{upload:08d}.dcm"

    def etag(self, upload: int) -> str:
        """As S3's: 32 hex digits."""
        return f"{upload:032x}"

    def part(self, number: int) -> bytes:
        """An index part, as intake writes it."""
        first = number * self.per_part
        uploads = range(first, min(first + self.per_part, self.uploads))
        return "".join(line for upload in uploads for line in self._lines(upload)).encode()

    def _lines(self, upload: int) -> list[str]:
        chance = random.Random(upload)  # noqa: S311
        key, etag = self.key(upload), self.etag(upload)
        _, name, group, _ = key.split("/")
        slice_id = upload_id(key, f"v{upload}", etag)
        source = json.dumps(
            {
                "bucket": UPLOADS,
                "key": key,
                "version_id": f"v{upload}",
                "etag": etag,
                "sequencer": f"{upload:018X}",
                "size_bytes": 526_000,
                "sha256": "ab" * 32,
                "last_modified": "2026-11-24T15:39:00+00:00",
            }
        )
        rest = json.dumps(
            {
                "label": {"name": name, "group": group},
                "normaliser": NORMALISER,
                "processing": {
                    "format": "DICOM",
                    "transfer_syntax": "Explicit VR Little Endian",
                    "modality": "CT",
                    "bits": 12,
                    "width_px": 512,
                    "height_px": 512 - 8 * chance.randrange(4),
                    "slices": self.per_upload,
                    "window": "level -600 HU, width 1500 HU",
                    "normaliser": NORMALISER,
                    "image_shape": [3, 224, 224],
                },
                "warnings": [],
            }
        )[1:-1]
        hexes = chance.randbytes(64 * self.per_upload).hex()
        brightness = 90 + 10 * (name == "covid")
        return [
            f'{{"slice_id": "{slice_id}-{place:05d}", "source": {source}, "index": {place}, '
            f'"count": {self.per_upload}, {rest}, "pixels": '
            f"{self._pixels(upload * self.per_upload + place, hexes, place, brightness)}}}\n"
            for place in range(self.per_upload)
        ]

    def _pixels(self, number: int, hexes: str, place: int, brightness: int) -> str:
        digests = hexes[128 * place : 128 * place + 128]
        if number % 1000 == 999:
            digests = 2 * hashlib.sha256(str(number // 1000 % _COPIES).encode()).hexdigest()
        return (
            f'{{"mean": {brightness + number % 41}.5, "spread": {40 + number % 23}.25, '
            f'"lit_share": 0.5, "sha256": "{digests[:64]}", "phash": "{digests[64:]}"}}'
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    made: LabelledSet
    received = 0

    def do_GET(self) -> None:
        path, query = self._asked()
        bucket, _, key = path.partition("/")
        if "list-type" in query:
            self._answer(self._listing(bucket, query), "application/xml")
        elif match := re.fullmatch(r"dataset/index/(\d+)\.jsonl", key):
            self._answer(self.made.part(int(match[1])))
        else:
            self._answer(b"<Error><Code>NoSuchKey</Code></Error>", "application/xml", 404)

    def do_PUT(self) -> None:
        _Handler.received += self._take()
        self._answer(b"", headers={"ETag": f'"{"0" * 32}"'})

    def do_POST(self) -> None:
        _, query = self._asked()
        self._take()
        target = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if target:
            self._answer(json.dumps(_TARGETS[target]).encode(), "application/x-amz-json-1.1")
        elif "uploads" in query:
            name = "InitiateMultipartUploadResult"
            self._answer(f"<{name}><UploadId>u</UploadId></{name}>".encode(), "application/xml")
        else:
            name = "CompleteMultipartUploadResult"
            self._answer(f"<{name}><ETag>e</ETag></{name}>".encode(), "application/xml")

    def _asked(self) -> tuple[str, dict[str, list[str]]]:
        split = urlsplit(self.path)
        return unquote(split.path[1:]), parse_qs(split.query, keep_blank_values=True)

    def _take(self) -> int:
        left = taken = int(self.headers.get("Content-Length", 0))
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        return taken

    def _listing(self, bucket: str, query: dict[str, list[str]]) -> bytes:
        prefix, first = query["prefix"][0], int(query.get("continuation-token", ["0"])[0])
        count = 0
        if bucket == UPLOADS:
            count = self.made.uploads
        elif prefix == "dataset/index/":
            count = self.made.parts
        numbers = range(first, min(first + _PAGE, count))
        items = "".join(self._item(bucket, number) for number in numbers)
        more = first + _PAGE < count
        token = f"<NextContinuationToken>{first + _PAGE}</NextContinuationToken>" if more else ""
        name = "ListBucketResult"
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        return f"<{name}>{truncated}{token}{items}</{name}>".encode()

    def _item(self, bucket: str, number: int) -> str:
        if bucket == UPLOADS:
            key, etag, size = self.made.key(number), self.made.etag(number), 526_000
        else:
            key, etag = f"dataset/index/{number:08d}.jsonl", "0" * 32
            size = 1200 * self.made.per_upload * self.made.per_part
        return (
            f"<Contents><Key>{key}</Key><LastModified>{_TIME}</LastModified>"
            f"<ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size></Contents>"
        )

    def _answer(
        self,
        body: bytes,
        kind: str = "application/octet-stream",
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


def main(arguments: list[str]) -> None:
    """Serve until standard input ends; then print how many bytes were put."""
    _Handler.made = LabelledSet(*map(int, arguments))
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        sys.stdin.read()
        print(_Handler.received, flush=True)
        server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
