"""A server of its own on loopback: what clients do to connections, and how it stops."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.serve.process import examples, serving, write_classifier
from tilegrad.serve.server import listen

BODY = json.dumps({"inputs": examples(1)[0].tolist()}).encode()
TIMEOUT = 1.0


def request(body: bytes = BODY, length: int | None = None, more: str = "") -> bytes:
    length = len(body) if length is None else length
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{more}Content-Length: {length}\r\n\r\n"
    return head.encode() + body


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    model = write_classifier(tmp_path_factory.mktemp("served"))
    with serving(
        model, "--timeout", str(TIMEOUT), "--max-body", "0.0625", "--connections", "40"
    ) as (process, number):
        yield number
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "", "stopped\n")


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def answer(one: socket.socket) -> tuple[int, bytes]:
    """(status, body) of what comes next; (0, b"") where the connection ends without an answer."""
    got = b""
    try:
        while b"\r\n\r\n" not in got:
            more = one.recv(1 << 16)
            if not more:
                return 0, got
            got += more
        head, _, body = got.partition(b"\r\n\r\n")
        if b"content-length: " in head.lower():
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            while len(body) < length:
                body += one.recv(1 << 16)
    except ConnectionResetError:
        return 0, got
    return int(head[9:12]), body


def is_well(port: int) -> bool:
    """Whether it answers, once it has seen that the connections before are closed."""
    status, body, until = 503, b"", time.monotonic() + 2
    while status == 503 and time.monotonic() < until:
        with connect(port) as one:
            one.sendall(request())
            status, body = answer(one)
    return status == 200 and len(json.loads(body)["outputs"]["probabilities"][0]) == 10


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n", b"\0" * 100, b"GET", b"GET / HTTP/x.9\r\n\r\n", b"GET /\r\n\r\n", b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 2_000_000 + b"\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_or_closed(port: int, sent: bytes) -> None:
    with connect(port) as one:
        with contextlib.suppress(OSError):  # closed before all is sent
            one.sendall(sent)
            one.shutdown(socket.SHUT_WR)
        status, body = answer(one)
    assert status == 0 or 400 <= status < 500, (status, body)
    assert is_well(port)


@pytest.mark.parametrize("path", ["//", "/../../../../etc/passwd", "/%2e%2e/etc/passwd", "/predict/../../etc/passwd",
                                  "http://127.0.0.1:1/etc/passwd", "/%00", "/%ff%fe", "*"])  # fmt: skip
def test_no_path_is_a_file(port: int, path: str) -> None:
    with connect(port) as one:
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        status, body = answer(one)
    assert status in (400, 404) and b"root:" not in body


def test_several_requests_on_a_connection_and_in_a_row(port: int) -> None:
    with connect(port) as one:
        for _ in range(3):
            one.sendall(request())
            assert answer(one)[0] == 200
        one.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" * 5)  # before any is answered
        got = b""
        while got.count(b'{"status":"ok"}') < 5:
            got += one.recv(1 << 16)
    assert got.count(b"HTTP/1.1 200 OK") == 5


def test_a_body_that_stops_halfway_is_408(port: int) -> None:
    begin = time.monotonic()
    with connect(port) as one:
        one.sendall(request(BODY[:100], len(BODY)))
        status, body = answer(one)
        assert one.recv(1) == b""  # and the connection is closed
    assert status == 408 and b"within 1 s" in body
    assert TIMEOUT - 0.2 < time.monotonic() - begin < 8 * TIMEOUT


def test_a_body_that_drips_is_408(port: int) -> None:
    with connect(port) as one:
        one.sendall(request(b"", len(BODY)))
        one.settimeout(0.1)
        got = b""
        for byte in BODY:
            try:
                one.sendall(bytes([byte]))
                got = one.recv(1 << 16)
            except TimeoutError:
                continue
            break
    assert got.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("sent", [b"", b"POST /predict HTTP/1.1\r\nHost: a\r\nX-Slow:"])
def test_headers_that_do_not_come_end_the_connection(port: int, sent: bytes) -> None:
    """Whether nothing comes at all, or a byte now and then."""
    begin = time.monotonic()
    with connect(port) as one:
        one.sendall(sent)
        one.settimeout(0.1)
        while True:
            assert time.monotonic() - begin < 10 * TIMEOUT
            try:
                if sent:
                    one.sendall(b"a")
                if one.recv(100) == b"":
                    break
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
    assert time.monotonic() - begin > TIMEOUT / 2


def test_a_connection_that_was_answered_has_as_long(port: int) -> None:
    with connect(port) as one:
        one.sendall(request() + b"GET / HT")
        assert answer(one)[0] == 200
        begin = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            assert one.recv(1) == b""
    assert time.monotonic() - begin < 8 * TIMEOUT


def test_a_client_that_goes_is_forgotten(port: int) -> None:
    for _ in range(20):
        with connect(port) as one:
            one.sendall(request(BODY[:200], len(BODY)))
        with connect(port) as one:
            one.sendall(request())
    assert is_well(port)


def test_a_body_that_is_too_long_is_413_and_read_as_such(port: int) -> None:
    for more, body in (("", b" " * (1 << 18)), ("Expect: 100-continue\r\n", b"")):
        with connect(port) as one:
            one.sendall(request(body, 1 << 18, more))
            status, said = answer(one)
        assert status == 413 and b"65536 bytes" in said


def test_connections_beyond_the_limit_are_503(port: int) -> None:
    time.sleep(0.2)
    held = [connect(port) for _ in range(45)]
    try:
        statuses = []
        for one in held[-3:]:
            one.sendall(request())
            statuses.append(answer(one)[0])
        assert statuses == [503] * 3
    finally:
        for one in held:
            one.close()
    assert is_well(port)


def test_a_client_that_reads_nothing_is_let_go(tmp_path: Path) -> None:
    """It asks for the page again and again, until no buffer of the way takes more."""
    ask = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 200
    with serving(write_classifier(tmp_path), "--timeout", "1") as (_, port):
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.settimeout(20)
            one.connect(("127.0.0.1", port))
            ended = False
            while not ended:
                try:
                    one.sendall(ask)
                except (ConnectionResetError, BrokenPipeError):
                    ended = True
        assert is_well(port)


def test_sigterm_finishes_what_was_taken(tmp_path: Path) -> None:
    """Twelve requests wait for company; SIGTERM comes; all are answered, and a connection then is refused."""
    with serving(write_classifier(tmp_path), "--max-wait", "1500") as (process, port):
        asked = [connect(port) for _ in range(12)]
        idle = connect(port)
        for one in asked:
            one.sendall(request())
        time.sleep(0.4)
        process.terminate()
        statuses = [answer(one)[0] for one in asked]
        assert process.wait(20) == 0 and statuses == [200] * 12
        assert answer(idle)[0] == 0
        with pytest.raises(ConnectionRefusedError):
            connect(port)
        for one in (*asked, idle):
            one.close()


def test_an_address_that_is_taken_is_an_error(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as bound:
        bound.listen()
        with pytest.raises(OSError, match="in use"):
            listen("127.0.0.1", bound.getsockname()[1])


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")
def test_the_documents_commands_work(tmp_path: Path) -> None:
    """docs/deploying.md, as printed but for the port."""
    page = (ROOT / "docs/deploying.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", page.partition("## Serving")[2], re.M | re.S)
    serve, *asked = [line for block in blocks for line in block.splitlines()]
    program, command, path = serve.split()
    assert (program, command, len(asked)) == ("tilegrad", "serve", 4)
    folder = (tmp_path / path).parent
    folder.mkdir(parents=True)
    write_classifier(folder)
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "digit.png")
    (tmp_path / "digits.json").write_bytes(BODY)
    (tmp_path / "digits.bin").write_bytes(examples(3).tobytes())
    with serving(path, folder=tmp_path) as (_, port):
        found = []
        for line in asked:
            assert ":8000/" in line
            done = subprocess.run(
                ["bash", "-c", line.replace(":8000/", f":{port}/")], cwd=tmp_path, text=True, capture_output=True
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            found.append(json.loads(done.stdout))
    assert found[0]["image"] == {"channels": 1, "height": 8, "width": 8}
    assert [len(f["classes"]) for f in found[1:]] == [1, 1, 3]
