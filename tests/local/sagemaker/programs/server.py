"""A serving program whose answer to each request is decided by the request's own first word.

`bad` → 400, `boom` → 500, `flaky` → 503 once and then fine, `busy` → 429 twice, `full` → 429,
`hang` → no answer, `die` → the process ends. Anything else is echoed with what the server knows.
"""

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STARTED = time.monotonic()
READY_AFTER_S = float(os.environ.get("READY_AFTER_S", "0"))
# A file that every request's body is noted in.
SCORED = os.environ.get("SCORED", "")
SEEN: set[bytes] = set()
SEEN_TIMES: dict[bytes, list[int]] = {}
BUSY = {"now": 0, "most": 0}
LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/ping":
            self.reply(200 if time.monotonic() - STARTED > READY_AFTER_S else 503, b"")
        elif self.path == "/execution-parameters" and "OFFER" in os.environ:
            self.reply(200, os.environ["OFFER"].encode())
        else:
            self.reply(404, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with LOCK:
            BUSY["now"] += 1
            BUSY["most"] = max(BUSY["most"], BUSY["now"])
        try:
            self.answer(body)
        finally:
            with LOCK:
                BUSY["now"] -= 1

    def answer(self, body: bytes) -> None:
        word = body.split(b" ")[0]
        if SCORED:
            with Path(SCORED).open("ab") as file:
                file.write(body + b"\n")
        time.sleep(float(os.environ.get("SLOWNESS_S", "0")))
        if word == b"bad":
            self.reply(400, b"cannot decode\nthis image")
        elif word == b"boom":
            self.reply(500, b"internal")
        elif word == b"flaky" and body not in SEEN:
            SEEN.add(body)
            self.reply(503, b"not yet")
        elif word == b"full" or (word == b"busy" and SEEN_TIMES.setdefault(body, []) != [1, 1]):
            SEEN_TIMES.setdefault(body, []).append(1)
            self.reply(429, b"wait", {"Retry-After": os.environ.get("RETRY_AFTER", "0")})
        elif word == b"hang":
            time.sleep(60)
        elif word == b"die":
            os._exit(9)
        else:
            self.reply(200, json.dumps(self.knowledge(body)).encode())

    def knowledge(self, body: bytes) -> dict[str, object]:
        model = Path(os.environ["SAGEMAKER_BASE_DIR"]) / "model" / "weights.txt"
        return {
            "prediction": [len(body)],
            "weights": model.read_text(),
            "content_type": self.headers["Content-Type"],
            "accept": self.headers["Accept"],
            "most_at_once": BUSY["most"],
            "environment": dict(os.environ),
        }

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    assert sys.argv[1] == "serve", sys.argv
    if "EXIT_AT_START" in os.environ:
        sys.exit(int(os.environ["EXIT_AT_START"]))
    print("server is up", flush=True)
    Server(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
