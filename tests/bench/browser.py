"""A Chromium without a window, spoken to over a pipe by its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def program() -> str | None:
    """Where a Chromium lies; None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page of it; what its console says, and what it asks of others than ``host``, gathers in ``said``."""

    def __init__(self, profile: Path, host: str = "file:"):
        self.host = host
        there, mine = os.pipe()
        back, theirs = os.pipe()
        command = [
            program(), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
            "--no-first-run", "--hide-scrollbars", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        quoted = " ".join(f"'{word}'" for word in command)
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {quoted} 3<&{there} 4>&{theirs}"], pass_fds=(there, theirs),
            stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(there)
        os.close(theirs)
        self.out, self.back, self.rest = mine, back, b""
        self.number, self.session, self.said = 0, "", list[str]()
        targets = self.ask("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.ask("Target.attachToTarget", targetId=page, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)
        os.close(self.out)
        os.close(self.back)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command; events that come before it are looked at."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])
            self._event(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            more = os.read(self.back, 1 << 20)
            if not more:
                raise RuntimeError("Chromium ended")
            self.rest += more
        text, _, self.rest = self.rest.partition(b"\0")
        return dict(json.loads(text))

    def _event(self, event: dict[str, Any]) -> None:
        given = event.get("params", {})
        if event.get("method") == "Runtime.consoleAPICalled":
            self.said.append(" ".join(str(a.get("value", a)) for a in given["args"]))
        elif event.get("method") == "Runtime.exceptionThrown":
            self.said.append(str(given["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded":
            self.said.append(given["entry"]["text"])
        elif event.get("method") == "Network.requestWillBeSent":
            address = given["request"]["url"]
            if not address.startswith((self.host, "data:", "about:")):
                self.said.append(f"asked for {address}")

    def evaluate(self, code: str) -> Any:
        """The value of an expression in the page."""
        found = self.ask("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def show(self, page: Path | str, width: int, dark: bool = False, media: str = "") -> None:
        """Open a page at a width, and wait until it says that it is drawn."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.ask("Page.navigate", url=page.as_uri() if isinstance(page, Path) else page)
        for _ in range(400):
            if self.evaluate("document.documentElement?.dataset.drawn || ''"):
                return
            time.sleep(0.1)
        raise RuntimeError(f"the page is not drawn: {self.said}")

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
