import json
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.training.builders import Job, Trained, make_slice
from training.algorithm import serve
from training.algorithm.images import decode_image
from training.algorithm.inference import Predictor
from training.algorithm.serve import Form, RefusedError, choose_form, offer


@dataclass(frozen=True)
class Answer:
    status: int
    media_type: str
    body: bytes


@dataclass(frozen=True)
class Client:
    url: str

    def get(self, path: str) -> Answer:
        return self._send(urllib.request.Request(self.url + path))

    def post(
        self, body: bytes, content_type: str = "application/x-image", **headers: str
    ) -> Answer:
        request = urllib.request.Request(self.url + "/invocations", body, headers, method="POST")
        request.add_header("Content-Type", content_type)
        return self._send(request)

    def _send(self, request: urllib.request.Request) -> Answer:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, response.headers["Content-Type"], response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers["Content-Type"], error.read())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(client: Client) -> None:
    for _ in range(600):
        try:
            answer = client.get("/ping")
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            assert answer.status == 200
            return
    pytest.fail("the server never answered /ping")


@pytest.fixture(scope="module")
def client(trained: Trained) -> Iterator[Client]:
    """The real program on the model that the real program trained; ends by SIGTERM with 0."""
    port = free_port()
    environment = {"SAGEMAKER_BIND_TO_PORT": str(port), "SAGEMAKER_MAX_PAYLOAD_IN_MB": "1"}
    with trained.job.start("serve", **environment) as process:
        client = Client(f"http://127.0.0.1:{port}")
        wait_for(client)
        yield client
        process.send_signal(signal.SIGTERM)
        log, _ = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "Traceback" not in log


def test_ping_answers_with_an_empty_body(client: Client) -> None:
    assert client.get("/ping").body == b""


def test_execution_parameters_name_one_record_per_request(client: Client) -> None:
    answer = json.loads(client.get("/execution-parameters").body)
    assert answer["BatchStrategy"] == "SINGLE_RECORD"
    assert answer["MaxPayloadInMB"] == 1
    assert answer["MaxConcurrentTransforms"] >= 2


@pytest.mark.parametrize(
    ("workers", "payload_mb", "concurrent"),
    [(4, 6, 8), (16, 6, 16), (64, 1, 100), (3, 100, 1), (2, 40, 2)],
)
def test_what_is_offered_keeps_threads_busy_within_sagemakers_limit(
    workers: int, payload_mb: int, concurrent: int
) -> None:
    assert offer(workers, payload_mb * 1024 * 1024) == {
        "MaxConcurrentTransforms": concurrent,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": payload_mb,
    }


@pytest.mark.parametrize(
    "content_type", ["application/x-image", "image/png", "image/jpeg", "Image/PNG; x=1"]
)
def test_an_image_gets_one_line_of_probabilities(client: Client, content_type: str) -> None:
    answer = client.post(make_slice(1, seed=7), content_type)
    assert (answer.status, answer.media_type) == (200, "application/jsonlines")
    prediction = json.loads(answer.body)["prediction"]
    assert len(prediction) == 2
    assert sum(prediction) == pytest.approx(1)
    assert b"\n" not in answer.body


def test_plain_json_is_a_bare_list(client: Client) -> None:
    answer = client.post(make_slice(1, seed=7), Accept="application/json")
    assert answer.media_type == "application/json"
    assert len(json.loads(answer.body)) == 2


def test_answers_are_those_of_the_model_that_was_trained(client: Client, trained: Trained) -> None:
    predictor = Predictor.load(trained.job.layout.model)
    for seed in range(4):
        encoded = make_slice(seed % 2, seed, side=40)
        expected = predictor.predict(decode_image(encoded, predictor.description.image_shape))
        assert json.loads(client.post(encoded).body)["prediction"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status", "said"),
    [
        (b"{}", "application/json", "*/*", 415, "application/x-image"),
        (b"", "", "*/*", 415, "Content-Type"),
        (b"no picture", "image/png", "*/*", 400, "neither a PNG nor a JPEG"),
        (b"", "image/png", "*/*", 400, "neither a PNG nor a JPEG"),
        (make_slice(0, 1)[:-30], "image/png", "*/*", 400, "broken"),
        (bytes(1024 * 1024 + 1), "image/png", "*/*", 413, "at most 1048576"),
        (make_slice(0, 1), "image/png", "text/csv", 406, "application/jsonlines"),
        (make_slice(0, 1), "image/png", "text/csv;verbose=1", 406, "application/jsonlines"),
        (b"no picture", "image/png", "application/json;verbose=1", 400, "neither a PNG nor a JPEG"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_reason(
    client: Client, body: bytes, content_type: str, accept: str, status: int, said: str
) -> None:
    answer = client.post(body, content_type, Accept=accept)
    assert answer.status == status
    assert said in json.loads(answer.body)["error"]


def test_bad_requests_never_harm_their_neighbours(client: Client) -> None:
    good = [make_slice(seed % 2, seed) for seed in range(8)]
    alone = [client.post(body).body for body in good]
    bad = [b"no picture", good[0][:200], bytes(2 * 1024 * 1024), b""]
    mixed = [body for pair in zip(good, bad * 2, strict=True) for body in pair]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client.post, mixed))
    assert [answer.body for answer in answers[::2]] == alone
    assert {answer.status for answer in answers[1::2]} == {400, 413}


def test_requests_under_way_are_answered_after_sigterm(trained: Trained) -> None:
    port = free_port()
    with trained.job.start("serve", SAGEMAKER_BIND_TO_PORT=str(port)) as process:
        client = Client(f"http://127.0.0.1:{port}")
        wait_for(client)
        with socket.create_connection(("127.0.0.1", port)) as slow:
            body = make_slice(1, seed=3)
            slow.sendall(
                b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body)
            )
            time.sleep(0.3)  # the request is under way: its body is still to come
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            slow.sendall(body)
            slow.settimeout(60)
            assert slow.recv(65536).startswith(b"HTTP/1.1 200")
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_folder_without_a_model_ends_the_server_with_a_reason(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(job.layout.base))
    assert serve.main() == 2
    assert "Customer Error: the model has no readable model.json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", Form("application/jsonlines")),
        ("*/*", Form("application/jsonlines")),
        ("application/jsonlines;verbose=1", Form("application/jsonlines", verbose=True)),
        ("Application/JSONLines ; Verbose = true", Form("application/jsonlines", verbose=True)),
        ("application/jsonlines;q=1;verbose=1", Form("application/jsonlines", verbose=True)),
        ("application/jsonlines;verbose=0", Form("application/jsonlines")),
        ("application/jsonlines;verbose", Form("application/jsonlines")),
        ("application/json;verbose=1", Form("application/json", verbose=True)),
        ("text/html;verbose=1, application/json", Form("application/json")),
        ("application/json, */*", Form("application/json")),
        ("text/html, application/json;q=0.9", Form("application/json")),
    ],
)
def test_the_form_of_the_answer_follows_the_accept_header(header: str, chosen: Form) -> None:
    assert choose_form(header) == chosen


def test_an_accept_header_with_nothing_on_offer_is_refused() -> None:
    with pytest.raises(RefusedError, match="text/html"):
        choose_form("text/html")
