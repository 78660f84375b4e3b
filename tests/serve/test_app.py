"""The application in this process: answers, refusals, batches, limits."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import tilegrad
from tests.serve.process import examples
from tilegrad import nn, serve
from tilegrad.serve.batching import Batcher
from tilegrad.serve.limits import Refusal, one_line
from tilegrad.serve.metrics import Metrics

JSON = {"Content-Type": "application/json"}
RAW = {"Content-Type": "application/octet-stream"}


def classifier() -> nn.Module:
    tilegrad.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    model = serve.Model(classifier(), [serve.Input("image", (1, 8, 8))], softmax=True)
    with TestClient(serve.app(model, serve.Limits(max_batch=8, queue=32, max_body=1 << 16))) as c:
        yield c


def expected(images: np.ndarray) -> np.ndarray:
    return classifier()(tilegrad.from_numpy(images)).softmax(1).detach().numpy()


def png(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def error_of(answer: Any) -> str:
    """The one line of a refusal."""
    assert answer.headers["content-type"] == "application/json" and answer.text.count("\n") == 1
    found = answer.json()
    assert set(found) == {"error"} and 0 < len(found["error"]) <= 300
    return str(found["error"])


# ---------------------------------------------------------------------------------- what is answered


def test_json_of_one_example_and_of_several(client: TestClient) -> None:
    images = examples(20)  # three batches of eight
    for given in (images[0], images[:1], images[:5], images):
        answer = client.post("/predict", json={"inputs": given.tolist()})
        found = answer.json()
        wanted = expected(given.reshape(-1, 1, 8, 8))
        np.testing.assert_allclose(found["outputs"]["probabilities"], wanted, atol=1e-5)
        assert found["classes"] == wanted.argmax(1).tolist()
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_raw_elements_are_the_same_numbers(client: TestClient) -> None:
    images = examples(3)
    listed = client.post("/predict", json={"inputs": images.tolist()}).json()
    raw = client.post("/predict", content=images.astype("<f4").tobytes(), headers=RAW).json()
    assert raw == listed


def test_images_of_any_size_and_mode(client: TestClient) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    wanted = expected(pixels.reshape(1, 1, 8, 8).astype(np.float32) / np.float32(255))
    rgb = np.stack([pixels] * 3, -1)
    large = pixels.repeat(16, 0).repeat(16, 1)
    for body, error in (
        (png(pixels), 1e-6), (png(rgb), 0.01), (png(pixels.astype(np.uint16) * 257), 1e-6),
        (png(large), 0.05),
    ):  # fmt: skip
        found = client.post("/predict", content=body, headers={"Content-Type": "image/png"}).json()
        np.testing.assert_allclose(found["outputs"]["probabilities"], wanted, atol=error)
    jpeg = png(large, "JPEG", quality=95)
    answer = client.post("/predict", content=jpeg, headers={"Content-Type": "image/jpeg; q=1"})
    np.testing.assert_allclose(answer.json()["outputs"]["probabilities"], wanted, atol=0.1)


def test_the_rest_is_there(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    found = client.get("/model").json()
    assert found["inputs"] == [{"name": "image", "shape": [1, 8, 8], "dtype": "float32"}]
    assert found["outputs"] == [{"name": "probabilities", "shape": [10]}]
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "/* style */" not in page.text and "/* program */" not in page.text
    assert client.head("/health").status_code == 200


def test_metrics_count(client: TestClient) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    def read() -> dict[tuple[str, ...], float]:
        text = client.get("/metrics").text
        return {(s.name, *s.labels.values()): s.value
                for family in text_string_to_metric_families(text) for s in family.samples}  # fmt: skip

    before = read()
    client.post("/predict", json={"inputs": examples(3).tolist()})
    client.post("/predict", content=b"{", headers=JSON)
    client.get("/of/no/use")
    after = read()
    for key, more in {
        ("tilegrad_requests_total", "/predict", "200"): 1,
        ("tilegrad_requests_total", "/predict", "400"): 1,
        ("tilegrad_requests_total", "other", "404"): 1,
        ("tilegrad_batch_examples_sum",): 3, ("tilegrad_model_seconds_count",): 1,
        ("tilegrad_request_seconds_count", "/predict"): 2,
    }.items():  # fmt: skip
        assert after[key] - before.get(key, 0) == more, key
    assert after["tilegrad_waiting_examples",] == after["tilegrad_body_bytes",] == 0
    assert after["process_resident_memory_bytes",] > 1 << 20


# ---------------------------------------------------------------------------------- what is refused

ONE = examples(1)[0].tolist()
BAD_JSON: dict[str, tuple[bytes | object, str]] = {
    "nothing": (b"", "no JSON"),
    "half": (b'{"inputs": [[[1, 2', "no JSON"),
    "no UTF-8": (b'{"inputs": "\xff\xfe"}', "no JSON"),
    "a comma too many": (b'{"inputs": [1,]}', "no JSON"),
    "two documents": (b'{"inputs": 1} {}', "no JSON"),
    "NaN": (json.dumps({"inputs": [[[float("nan")] * 8] * 8]}).encode(), "NaN is no number"),
    "infinity": (b'{"inputs": -Infinity}', "-Infinity is no number"),
    "overflow": (b'{"inputs": [[' + b",".join([b"[" + b",".join([b"1e999"] * 8) + b"]"] * 8) + b"]]}", "infinity"),
    "too large for float32": ({"inputs": [[[1e300] * 8] * 8]}, "too large for float32"),
    "a long integer": ({"inputs": [[[10**400] * 8] * 8]}, "too large"),
    "a very long integer": (b'{"inputs": ' + b"9" * 20000 + b"}", "no JSON"),
    "deep": (b'{"inputs": ' + b"[" * 30000 + b"]" * 30000 + b"}", "nested too deep"),
    "deep objects": (b'{"a":' * 10000 + b"1" + b"}" * 10000, "nested too deep"),
    "a number": ({"inputs": 3}, "shape (1, 8, 8) or (N, 1, 8, 8)"),
    "a list": (ONE, '"inputs" and nothing else'),
    "another key": ({"input": ONE}, '"inputs" and nothing else'),
    "a key more": ({"inputs": ONE, "path": "/etc/passwd"}, '"inputs" and nothing else'),
    "another input": ({"inputs": {"picture": ONE}}, "inputs must have image"),
    "no examples": ({"inputs": []}, "no examples"),
    "empty lists": ({"inputs": [[[]]]}, "a list of 1 where 8"),
    "ragged": ({"inputs": [[[1] * 8] * 7 + [[1] * 7]]}, "a list of 7 where 8"),
    "too few rows": ({"inputs": [[[1] * 8] * 7]}, "a list of 7 where 8"),
    "too deep by two": ({"inputs": [[ONE]]}, "nested deeper"),
    "text": ({"inputs": [[["1"] * 8] * 8]}, "text where a number"),
    "null": ({"inputs": [[[None] * 8] * 8]}, "null where a number"),
    "truth": ({"inputs": [[[True] * 8] * 8]}, "True where a number"),
    "an object among numbers": ({"inputs": [[[{}] * 8] * 8]}, "an object where a number"),
    "a path": ({"inputs": "/etc/passwd"}, "nested 0 deep"),
    "a number among lists": ({"inputs": [[[1] * 8] * 7 + [5]]}, "5 where a list"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json_is_400_with_one_line(client: TestClient, name: str) -> None:
    body, says = BAD_JSON[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post("/predict", content=content, headers=JSON)
    assert answer.status_code == 400
    assert says in error_of(answer)


def test_a_long_text_among_short_ones_makes_no_large_array(client: TestClient) -> None:
    """As an array of text it would have the longest one's width for each."""
    row = ["a" * 30000] + ["b"] * 7
    answer = client.post("/predict", json={"inputs": [[row] + [["b"] * 8] * 7]})
    assert answer.status_code == 400 and "text where a number" in error_of(answer)


@pytest.mark.parametrize("length", [0, 1, 255, 257, 64])
def test_raw_bytes_of_another_length_are_400(client: TestClient, length: int) -> None:
    answer = client.post("/predict", content=b"\0" * length, headers=RAW)
    assert answer.status_code == 400 and "an example has 256 bytes" in error_of(answer)


def test_raw_nan_is_400(client: TestClient) -> None:
    answer = client.post("/predict", content=np.full(64, np.nan, "<f4").tobytes(), headers=RAW)
    assert answer.status_code == 400 and "NaN" in error_of(answer)


def test_bad_images_are_400(client: TestClient) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    good, jpeg = png(pixels), png(pixels, "JPEG")
    for body, kind in (
        (b"", "png"), (b"GIF89a" + b"\0" * 99, "png"), (good[: len(good) // 2], "png"), (jpeg, "png"), (good, "jpeg"),
        (jpeg[:300], "jpeg"), (b"%!PS-Adobe-3.0 EPSF\n", "png"), (b"<svg xmlns='x'/>", "png"),
    ):  # fmt: skip
        answer = client.post("/predict", content=body, headers={"Content-Type": f"image/{kind}"})
        assert answer.status_code == 400 and "image" in error_of(answer), body[:20]


def test_an_image_of_too_many_pixels_is_413_before_it_is_decoded(client: TestClient) -> None:
    body = bytearray(png(np.zeros((8, 8), np.uint8)))
    body[16:24] = (6000).to_bytes(4, "big") * 2  # the header says so
    import zlib

    body[29:33] = zlib.crc32(bytes(body[12:29])).to_bytes(4, "big")
    answer = client.post("/predict", content=bytes(body), headers={"Content-Type": "image/png"})
    assert answer.status_code == 413 and "pixels" in error_of(answer)


def test_other_content_types_are_415(client: TestClient) -> None:
    body = json.dumps({"inputs": ONE}).encode()
    for kind in (
        "",
        "text/plain",
        "multipart/form-data; boundary=x",
        "image/svg+xml",
        "application/x-pickle",
        "é",
    ):
        answer = client.post(
            "/predict", content=body, headers={"Content-Type": kind.encode("utf-8")}
        )  # type: ignore[dict-item]
        assert answer.status_code == 415 and "application/json" in error_of(answer)
    answer = client.post("/predict", content=body, headers={**JSON, "Content-Encoding": "gzip"})
    assert answer.status_code == 415 and "compressed" in error_of(answer)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/page.html", "/model/", "/static/../app.py",
             "/predict/..%2f..%2fetc%2fpasswd", "/\x00", "/?file=/etc/passwd&x=" + "y" * 3000]
)  # fmt: skip
def test_no_path_is_a_file(client: TestClient, path: str) -> None:
    from urllib.parse import quote

    answer = client.get(quote(path, safe="/%.?=&"))
    if path.startswith("/?"):
        assert answer.status_code == 200
    else:
        assert answer.status_code == 404 and "there is nothing here" in error_of(answer)
    assert "root:" not in answer.text


def test_other_methods_are_405(client: TestClient) -> None:
    for method, path in (
        ("GET", "/predict"),
        ("POST", "/"),
        ("DELETE", "/model"),
        ("PUT", "/health"),
        ("TRACE", "/"),
    ):
        answer = client.request(method, path)
        assert answer.status_code == 405 and "allow" in answer.headers and error_of(answer)


def test_a_body_beyond_the_limit_is_413(client: TestClient) -> None:
    def chunks() -> Iterator[bytes]:  # without a Content-Length
        for _ in range(40):
            yield b" " * (1 << 12)

    for content in (b" " * ((1 << 16) + 1), chunks()):
        answer = client.post("/predict", content=content, headers=JSON)
        assert answer.status_code == 413 and "65536 bytes" in error_of(answer)
        assert answer.headers["connection"] == "close"
    assert client.post("/predict", content=b" " * (1 << 16), headers=JSON).status_code == 400


def test_more_examples_than_the_queue_holds_are_413(client: TestClient) -> None:
    answer = client.post("/predict", content=np.zeros((33, 64), "<f4").tobytes(), headers=RAW)
    assert answer.status_code == 413 and "32 examples" in error_of(answer)


def test_spoiled_requests_never_fail_the_server(client: TestClient) -> None:
    """Bytes changed, cut, doubled and swapped at random: an answer, or a refusal of one line."""
    rng = np.random.default_rng(0)
    seeds = [
        (json.dumps({"inputs": ONE}).encode(), "application/json"),
        (png(np.arange(64, dtype=np.uint8).reshape(8, 8) * 3), "image/png"),
        (png(np.arange(64, dtype=np.uint8).reshape(8, 8) * 3, "JPEG"), "image/jpeg"),
        (examples(1).tobytes(), "application/octet-stream"),
    ]
    seen = set()
    for _ in range(60):
        for good, kind in seeds:
            body = bytearray(good)
            for _ in range(int(rng.integers(1, 6))):
                at, to = sorted(rng.integers(0, len(body) + 1, 2))
                how = rng.integers(0, 4)
                if how == 0 and at < len(body):
                    body[at] = rng.integers(0, 256)
                elif how == 1:
                    del body[at : min(to, at + 20)]
                elif how == 2:
                    body[at:at] = body[at:to][:50]
                else:
                    body[at:at] = rng.choice(
                        [b"1e999", b"[", b"]", b"{", b"-", b"NaN", b"\0\0\0\0", b"\xff"]
                    )
            answer = client.post("/predict", content=bytes(body), headers={"Content-Type": kind})
            seen.add(answer.status_code)
            if answer.status_code != 200:
                assert answer.status_code in (400, 413), (bytes(body), answer.text)
                error_of(answer)
    assert seen >= {200, 400}
    assert client.get("/health").json() == {"status": "ok"}


# ---------------------------------------------------------------------------------- together


class Held:
    """A module that waits until it is let go, and notes what it was called with."""

    def __init__(self) -> None:
        self.go, self.calls = threading.Event(), list[np.ndarray]()

    def __call__(self, x: tilegrad.Tensor) -> tilegrad.Tensor:
        assert self.go.wait(20)
        self.calls.append(x.numpy().copy())
        return x * 2


@pytest.fixture
def held() -> Iterator[Held]:
    module = Held()
    module.go.set()
    yield module
    module.go.set()


def serving(module: Any, **limits: Any) -> TestClient:
    model = serve.Model(module, (2,))
    return TestClient(serve.app(model, serve.Limits(**limits)))


def ask(client: TestClient, *rows: float) -> Any:
    return client.post("/predict", json={"inputs": [[r, r] for r in rows]})


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_requests_share_calls_and_get_their_own_rows(held: Held) -> None:
    with serving(held, max_batch=8) as client, ThreadPoolExecutor(20) as pool:
        held.go.clear()
        held.calls.clear()
        first = pool.submit(ask, client, 0)
        batcher = client.app.service.batcher  # type: ignore[attr-defined]
        wait_for(lambda: not batcher.waiting and client.get("/metrics"))
        time.sleep(0.05)  # the first is with the model, alone
        others = [pool.submit(ask, client, k, -k) for k in range(1, 8)]
        wait_for(lambda: batcher.waiting == 14)
        held.go.set()
        assert first.result().json() == {"outputs": {"output": [[0, 0]]}}
        for k, other in enumerate(others, 1):
            assert other.result().json() == {"outputs": {"output": [[2 * k] * 2, [-2 * k] * 2]}}
    assert [len(c) for c in held.calls] == [1, 8, 8]  # of 14, six filled up to eight


def test_a_full_queue_is_429_with_a_time(held: Held) -> None:
    with serving(held, max_batch=1, queue=3) as client, ThreadPoolExecutor(8) as pool:
        held.go.clear()
        batcher = client.app.service.batcher  # type: ignore[attr-defined]
        waiting = [pool.submit(ask, client, 1)]
        time.sleep(0.05)
        waiting += [pool.submit(ask, client, k) for k in range(2, 5)]
        wait_for(lambda: batcher.waiting == 3)
        answer = ask(client, 9)
        assert answer.status_code == 429 and answer.headers["retry-after"] == "1"
        assert error_of(answer) == "3 examples are waiting"
        held.go.set()
        rows = [w.result().json()["outputs"]["output"][0][0] for w in waiting]
        assert rows == [2, 4, 6, 8]
        assert ask(client, 9).status_code == 200


def test_a_result_that_comes_too_late_is_503_and_harms_nobody(held: Held) -> None:
    with serving(held, max_batch=1, timeout=0.3) as client:
        held.go.clear()
        answer = ask(client, 1)
        assert answer.status_code == 503 and "within 0.3 s" in error_of(answer)
        held.go.set()
        assert ask(client, 2).json() == {"outputs": {"output": [[4, 4]]}}


def test_closing_computes_what_waits_and_takes_nothing_more(held: Held) -> None:
    async def run() -> list[Any]:
        batcher = Batcher(serve.Model(held, (2,)), serve.Limits(max_batch=1), Metrics())
        batcher.start()
        held.go.clear()
        asked = [asyncio.create_task(batcher.submit([np.full((1, 2), k)])) for k in range(4)]
        await asyncio.sleep(0.05)
        assert batcher.waiting == 3
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(Refusal, match="stopping"):
            await batcher.submit([np.zeros((1, 2))])
        held.go.set()
        await closing
        return await asyncio.gather(*asked)

    assert [found["output"].tolist() for found in asyncio.run(run())] == [
        [[2 * k] * 2] for k in range(4)
    ]


def test_one_requests_bad_input_is_no_others() -> None:
    table = nn.Embedding(10, 2).eval()
    model = serve.Model(table, [serve.Input("tokens", (3,), "int64")])
    with (
        TestClient(serve.app(model, serve.Limits(max_wait=0.2))) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        tokens = [[1, 2, 3], [4, 5, 99], [0, 9, 0]]
        asked = [pool.submit(client.post, "/predict", json={"inputs": t}) for t in tokens]
        good, bad, other = (a.result() for a in asked)
    assert bad.status_code == 422 and "cannot run on this input" in error_of(bad)
    for answer, row in ((good, tokens[0]), (other, tokens[2])):
        wanted = table(tilegrad.tensor([row])).detach().numpy()
        np.testing.assert_array_equal(answer.json()["outputs"]["output"], wanted)


def test_results_that_json_cannot_say_are_null() -> None:
    with serving(lambda x: x.log()) as client:
        assert ask(client, 0, 1, -1).json() == {
            "outputs": {"output": [[None] * 2, [0, 0], [None] * 2]}
        }


def test_several_inputs_and_outputs_by_name() -> None:
    inputs = [
        serve.Input("a", (2,)),
        serve.Input("flag", (), "bool"),
        serve.Input("n", (), "uint8"),
    ]

    def module(a: Any, flag: Any, n: Any) -> dict[str, Any]:
        return {"sum": a.sum(1) + n, "not": flag.logical_not()}

    with TestClient(serve.app(serve.Model(module, inputs, name="several"))) as client:
        both = {"a": [[1, 2], [3, 4]], "flag": [True, False], "n": [255, 1]}
        answer = client.post("/predict", json={"inputs": both})
        assert answer.json() == {"outputs": {"sum": [258, 8], "not": [False, True]}}
        for name, value, says in (
            ("flag", [1, 0], "1 where true or false"), ("n", [256, 1], "from 0 to 255"), ("n", [1.5, 1], "whole number"),
            ("n", [1], "different numbers of examples"), ("n", [[1, 2]], "() or (N,)"), ("n", [10**30, 1], "from 0 to 255"),
        ):  # fmt: skip
            answer = client.post("/predict", json={"inputs": {**both, name: value}})
            assert answer.status_code == 400 and says in error_of(answer)
        assert client.post("/predict", content=b"\0" * 8, headers=RAW).status_code == 415
        assert client.get("/model").json()["image"] is None


def test_a_model_of_one_batch_is_filled_up() -> None:
    seen = []

    def module(x: tilegrad.Tensor) -> tilegrad.Tensor:
        seen.append(len(x))
        return x + 1

    with TestClient(serve.app(serve.Model(module, (2,), batch=4))) as client:
        found = ask(client, *range(6)).json()["outputs"]["output"]
    assert found == [[k + 1, k + 1] for k in range(6)] and set(seen) == {4}


def test_models_that_cannot_be_served_are_refused() -> None:
    for module, says in (
        (lambda x: x.sum(), "no row for each"), (lambda x: x @ x, "cannot run on a batch of"),
        (lambda x: 5, "outputs must be tensors; got int"), (lambda x: x[:1].expand(3, 2), "no row for each"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            serve.app(serve.Model(module, (2,)))
    with pytest.raises(ValueError, match="softmax is of one output"):
        serve.app(serve.Model(lambda x: (x, x), (2,), softmax=True))
    for make, says in (
        (lambda: serve.Input("x", (0,)), "positive whole"), (lambda: serve.Input("x", (1,), "complex64"), "dtype must be"),
        (lambda: serve.Limits(queue=0), "queue must be"), (lambda: serve.Limits(timeout=0.0), "timeout must be"),
        (lambda: serve.Limits(max_wait=20.0), "max_wait less"),
        (lambda: serve.Model(abs, [serve.Input("x", (1,))] * 2), "one name"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            make()


def test_bodies_share_a_bound() -> None:
    with serving(lambda x: x, buffered=4096) as client:
        answer = client.post("/predict", content=b" " * 5000, headers=JSON)
        assert answer.status_code == 503 and "bodies" in error_of(answer)
        assert client.app.service.buffered == 0  # type: ignore[attr-defined]
        assert ask(client, 1).status_code == 200


def test_a_failure_of_the_server_is_500_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    model = serve.Model(lambda x: x, (2,))
    with TestClient(serve.app(model), raise_server_exceptions=False) as client:
        monkeypatch.setattr(model, "describe", lambda: 1 / 0)
        answer = client.get("/model")
        assert answer.status_code == 500 and "log" in error_of(answer)


def test_refusals_are_one_line() -> None:
    assert one_line("a\r\nb\x00\x1b[31m c\u202e") == "a b [31m c"
    assert len(one_line("x" * 1000)) == 300
    assert Refusal(400, "a\nb").line == "a b"
