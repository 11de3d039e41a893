"""A real browser, driven over a pair of pipes (the DevTools protocol)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)


class Page:
    """One tab."""

    def __init__(self, to_browser: IO[bytes], from_browser: IO[bytes]) -> None:
        self._write, self._read = to_browser, from_browser
        self._held, self._number, self._session = b"", 0, ""
        self.messages: list[dict[str, Any]] = []  # what the page itself reports
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser, and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.messages.append(answer)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._held:
            read = self._read.read(1 << 16)
            if not read:
                raise RuntimeError("the browser has ended")
            self._held += read
        message, self._held = self._held.split(b"\0", 1)
        return json.loads(message)

    def open(self, path: Path) -> None:
        """Show a file, and wait until it is there."""
        self.call("Page.navigate", url=path.as_uri())
        self.run(
            "new Promise((done) => document.readyState === 'complete' ? done() : onload = done)"
        )

    def run(self, script: str) -> Any:
        """Evaluate JavaScript in the page; a promise is waited for."""
        result = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Move or press the mouse at a place of the page."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def picture(self) -> bytes:
        """What the tab shows, as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Start Chromium without a window, and end it."""
    assert CHROMIUM is not None
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()

    def as_3_and_4() -> None:
        spare = [os.dup2(fd, 100 + index) for index, fd in enumerate((theirs_in, theirs_out))]
        for index, fd in enumerate(spare):
            os.dup2(fd, 3 + index)

    process = subprocess.Popen(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--remote-debugging-pipe", "--use-gl=angle",
            "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--window-size=1200,900",
            "--no-first-run", f"--user-data-dir={profile}",
        ],
        preexec_fn=as_3_and_4,
        close_fds=False,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        with os.fdopen(ours_out, "wb", buffering=0) as to, os.fdopen(ours_in, "rb", 0) as back:
            yield Page(to, back)
    finally:
        process.kill()
        process.wait()
