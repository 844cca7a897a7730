"""Writes the golden vectors beside it with MXNet's own RecordIO. Not run by the tests.

MXNet 1.9.1 is the last release; it runs on a CPU under Python 3.11 with numpy 1.23.5:

    python3.11 -m venv /tmp/mxnet
    /tmp/mxnet/bin/pip install numpy==1.23.5 mxnet==1.9.1 opencv-python-headless==4.8.1.78
    /tmp/mxnet/bin/python -W ignore tests/training/golden/make.py

`payloads.rec` is what MXRecordIO writes for the payloads in `payloads.json`; `images.rec` holds
records of `mxnet.recordio.pack` and `pack_img`, `images.json` what its `unpack` reads from them.
"""

import json
from pathlib import Path

import mxnet as mx  # type: ignore[import-not-found]
import numpy as np

FOLDER = Path(__file__).resolve().parent
MAGIC = bytes.fromhex("0a23d7ce")

PAYLOADS = {
    "empty": b"",
    "padded by 3": b"1",
    "padded by 2": b"10",
    "padded by 1": b"[0]",
    "padded by 0": b"1234",
    "magic alone": MAGIC,
    "magic twice in a row": MAGIC + MAGIC,
    "magic thrice in a row": MAGIC * 3,
    "magic at the start": MAGIC + b"BBB",
    "magic at the end": b"AAAA" + MAGIC,
    "magic in the middle": b"AAAA" + MAGIC + b"BBB",
    "magic off the boundary by 1": b"A" + MAGIC + b"BBBB",
    "magic off the boundary by 2": b"AA" + MAGIC + b"BBBB",
    "magic off the boundary by 3": b"AAA" + MAGIC + b"BBBB",
    "magic on and off the boundary": MAGIC + b"A" + MAGIC + b"BBB" + MAGIC,
    "twice in a row, in the middle": b"AAAA" + MAGIC + MAGIC + b"CC",
    "half of a magic at the end": b"AAAA" + MAGIC[:2],
    "magic that crosses a cut": MAGIC + MAGIC[:2] + MAGIC,
    "a record within a record": MAGIC + bytes.fromhex("01000000") + b"1\0\0\0",
    "all bytes": bytes(range(256)) * 3,
}


def write_payloads() -> None:
    write_records("payloads.rec", list(PAYLOADS.values()))
    content = {name: payload.hex() for name, payload in PAYLOADS.items()}
    write_json("payloads.json", content)


def write_images() -> None:
    pixels = np.add.outer(np.arange(8), np.arange(8)).astype(np.uint8) * 16
    picture = np.repeat(pixels[:, :, None], 3, axis=2)
    header = mx.recordio.IRHeader
    packed = [
        mx.recordio.pack_img(header(0, 1.0, 7, 0), picture, img_fmt=".png"),
        mx.recordio.pack_img(header(0, 0.0, 8, 0), picture, quality=90, img_fmt=".jpg"),
        mx.recordio.pack_img(header(0, [1.0, 0.0, 1.0], 9, 0), picture, img_fmt=".png"),
        mx.recordio.pack_img(header(0, [2.0], 10, 0), picture, img_fmt=".png"),
        mx.recordio.pack(header(0, 3.0, 2**40, 0), MAGIC + b"not an image"),
        mx.recordio.pack(header(0, [0.0, 1.0], 11, 0), b""),
    ]
    write_records("images.rec", packed)
    rows = []
    for payload in packed:
        head, image = mx.recordio.unpack(payload)
        labels = np.atleast_1d(head.label).tolist()
        rows.append({"flag": head.flag, "labels": labels, "id": head.id, "image": image.hex()})
    write_json("images.json", rows)


def write_records(name: str, payloads: list[bytes]) -> None:
    writer = mx.recordio.MXRecordIO(str(FOLDER / name), "w")
    for payload in payloads:
        writer.write(payload)
    writer.close()


def write_json(name: str, content: object) -> None:
    (FOLDER / name).write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    write_payloads()
    write_images()
