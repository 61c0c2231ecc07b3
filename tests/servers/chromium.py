"""A real Chromium, driven by its DevTools protocol over a pipe: real keys, and the text on screen."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import require_program
from tests.servers.judges import tool

_WAIT = 120.0
"""Seconds for any answer."""
_KEYS = {"Tab": 9, "Enter": 13, " ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
_MOST_TABS = 120
_DOUBLE_TAP = 0.5
"""Seconds in which Chromium takes two taps at nearly the same place for a double tap, which selects words."""
_FOCUS = """(() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const box = one.getBoundingClientRect(), label = one.labels && one.labels[0];
  return {
    tag: one.localName, type: one.type || "", name: one.name || "", value: one.value || "", id: one.id,
    text: ((label || one).innerText || "").trim(), href: one.href || "", checked: !!one.checked,
    outline: getComputedStyle(one).outlineStyle,
    height: Math.max(box.height, label ? label.getBoundingClientRect().height : 0),
  };
})()"""
_AXE = "axe.run().then(found => JSON.stringify(found.violations.map(one => [one.id, one.nodes[0].html])))"


class Tab:
    """One tab. Scripts of pages are off without `scripts`; questions of the tests work anyway."""

    def __init__(self, browser: _Pipe, session: str) -> None:
        self._browser, self._session = browser, session
        self._tapped = 0.0

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command of the protocol."""
        return self._browser.ask(method, params, self._session)

    def open(self, url: str) -> None:
        """Open an address, as if it were typed."""
        self._browser.forget()
        answer = self.ask("Page.navigate", url=url)
        assert "errorText" not in answer, (url, answer)
        self._browser.until("Page.loadEventFired")

    def look(self, expression: str) -> Any:
        """Return the value of a JavaScript expression on the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def lead_on(self, expression: str) -> None:
        """Do something that opens another page, and wait for that page."""
        self._browser.forget()
        self.look(f"{expression}; 0")
        self._browser.until("Page.loadEventFired")

    @property
    def words(self) -> str:
        """Return the text that a reader sees."""
        return str(self.look("document.body.innerText"))

    def key(self, name: str, *, leads_on: bool = False) -> None:
        """Press one key; with `leads_on`, wait for the page that it opens."""
        self._browser.forget()
        typed = {"Enter": "\r", " ": " "}.get(name, "")
        values = {"key": name, "code": {" ": "Space"}.get(name, name), "windowsVirtualKeyCode": _KEYS[name]}
        self.ask("Input.dispatchKeyEvent", type="keyDown" if typed else "rawKeyDown", text=typed, **values)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **values)
        if leads_on:
            self._browser.until("Page.loadEventFired")

    def write(self, text: str) -> None:
        """Type into the focused element."""
        for letter in text:
            self.ask("Input.dispatchKeyEvent", type="char", text=letter)

    def tab_to(self, **wanted: str) -> dict[str, Any]:
        """Press Tab until the focused element has these values. Each element on the way must show its focus."""
        stops = []
        for _ in range(_MOST_TABS):
            self.key("Tab")
            focus = self.look(_FOCUS)
            if focus is None:
                continue
            stops.append(focus)
            assert focus["outline"] != "none", f"no sign of focus on {focus}"
            assert focus["tag"] == "a" or focus["height"] >= 24, f"too small a target (WCAG 2.5.8): {focus}"
            if all(
                value in focus[key] if key in ("text", "href") else focus[key] == value for key, value in wanted.items()
            ):
                return dict(focus)
        raise AssertionError(f"no {wanted} by Tab; there were {stops}")

    def choose(self, name: str, value: str, arrow: str = "ArrowDown") -> None:
        """Choose a radio button of a group, with arrow keys."""
        now = self.tab_to(type="radio", name=name)
        for _ in range(20):
            if now["value"] == value:
                return
            self.key(arrow)
            now = self.look(_FOCUS)
        raise AssertionError(f"no {name}={value}")

    def tap(self, selector: str, *, leads_on: bool = False) -> None:
        """Tap an element with a finger; with `leads_on`, wait for the page that it opens."""
        # A person needs longer between two fields. After scrolling, both are in the middle of the screen.
        time.sleep(max(0, self._tapped + _DOUBLE_TAP - time.monotonic()))
        box = self.look(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            " one.scrollIntoView({block: 'center', behavior: 'instant'}); const box = one.getBoundingClientRect();"
            " return [box.left + box.width / 2, box.top + box.height / 2, box.width, box.height]; })()"
        )
        assert min(box[2:]) >= 24, f"too small for a finger (WCAG 2.5.8): {selector} {box}"
        self._browser.forget()
        self.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": box[0], "y": box[1]}])
        self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self._tapped = time.monotonic()
        if leads_on:
            self._browser.until("Page.loadEventFired")

    def choose_file(self, selector: str, file: Path) -> None:
        """Choose a file in the dialog of a field."""
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.ask("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def screen(self, width: int, height: int = 900, scheme: str = "light") -> None:
        """Set the size of the window in CSS pixels, and the colour scheme that the reader prefers."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def scripts(self, on: bool) -> None:
        """Allow or forbid scripts of pages."""
        self.ask("Emulation.setScriptExecutionDisabled", value=not on)

    def axe(self) -> list[Any]:
        """Return all findings of axe-core. Its script always runs."""
        self.scripts(on=True)
        self.look(tool("axe-core", "axe.min.js").read_text(encoding="utf-8") + ";0")
        parsed = list(json.loads(self.look(_AXE)))
        self.scripts(on=False)
        return parsed

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window (WCAG 1.4.10)."""
        return int(self.look("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def picture(self, file: Path) -> None:
        """Return the whole page as a PNG."""
        answer = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(answer["data"]))


class _Pipe:
    """The protocol over two pipes: JSON that ends with a zero byte."""

    def __init__(self, out: int, back: int) -> None:
        self._out, self._back = out, back
        self._rest = b""
        self._number = 0
        self._events: list[str] = []

    def ask(self, method: str, params: dict[str, Any], session: str = "") -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._next(method)
            if reply.get("id") == self._number:
                assert "error" not in reply, (method, reply["error"])
                return dict(reply["result"])

    def forget(self) -> None:
        """Forget all events until now."""
        self._events.clear()

    def until(self, event: str) -> None:
        """Wait for an event since `forget`."""
        while event not in self._events:
            self._next(event)

    def _next(self, what: str) -> dict[str, Any]:
        until = time.monotonic() + _WAIT
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._back], [], [], max(0, until - time.monotonic()))
            data = os.read(self._back, 1 << 20) if ready else b""
            assert data, f"Chromium does not answer: {what}"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        parsed: dict[str, Any] = json.loads(line)
        if "method" in parsed:
            self._events.append(parsed["method"])
        return parsed


@contextmanager
def chromium(profile: Path, language: str) -> Iterator[Tab]:
    """Run a headless Chromium for a reader of this language, with a fresh profile and one tab."""
    program = require_program("chromium")
    (theirs, out), (back, ours) = os.pipe(), os.pipe()
    # DevTools reads descriptor 3 and writes to 4. F_DUPFD gives copies that no open descriptor has as its number.
    start = "import fcntl, os, sys; a, b = (fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]);"
    start += "os.dup2(a, 3); os.dup2(b, 4); os.closerange(5, 4096); os.execv(sys.argv[3], sys.argv[3:])"
    command = [
        sys.executable, "-c", start, str(theirs), str(ours), program, "--headless", "--remote-debugging-pipe",
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--force-prefers-no-reduced-motion", f"--user-data-dir={profile}", f"--accept-lang={language}",
        "about:blank",
    ]  # fmt: skip
    running = subprocess.Popen(
        command, pass_fds=(theirs, ours), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    os.close(ours)
    try:
        pipe = _Pipe(out, back)
        target = pipe.ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = pipe.ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        tab = Tab(pipe, session)
        tab.ask("Page.enable")
        tab.scripts(on=False)
        yield tab
        pipe.ask("Browser.close", {})
    finally:
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        os.close(out)
        os.close(back)
