"""Take the pictures of docs/room anew, in the newsroom of `make demo`: `make pictures`.

Run it after a change of the room's screens, then look at each picture. It needs Chromium.
"""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.chromium import Tab, chromium

FOLDER = Path(__file__).parent / "room"
WIDTH = 1100
SCREENS = {
    "today": ("", 1300),
    "story": ("stories/edit?file=content/reading-tent.en.md", 1900),
    "next-edition": ("coming/weekly", 1400),
    "edition": ("editions/reports/1", 1100),
    "calendar": ("calendar", 1000),
    "subscribers": ("subscribers", 1000),
    "import": ("subscribers/import", 1000),
}
"""Each picture: the address in the room, and the height."""
PEOPLE = """email,name,language,topics,frequency
amina@example.org,Amina,kk,sdg-4,weekly
boris@example.org,Boris,ru,,daily
carla(at)example.org,Carla,en,,
boris@example.org,Boris B.,ru,,weekly
dana@example.org,Dana,xx,,weekly
"""
"""The table of the picture `import`, with odd lines."""


@contextmanager
def demo_room() -> Iterator[str]:
    """Play the demo in a folder of its own. Yields the address of its room."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-u", "-m", "tidings", "demo"]
        playing = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        try:
            yield read_address(playing)
        finally:
            playing.send_signal(signal.SIGINT)
            playing.wait(60)


def read_address(playing: subprocess.Popen[str]) -> str:
    """Return the address of the room, which the demo prints when it is played."""
    for line in playing.stdout or ():
        if found := re.search(r"http://\S+/room/", line):
            return found[0]
    raise SystemExit("The demo did not start. Try `make demo` to see why.")


def try_import(tab: Tab) -> None:
    """Fill the form of an import, and try it."""
    values = {"#source": "Sign-up sheet, open day", "#table": PEOPLE}
    for selector, value in values.items():
        tab.look(f"document.querySelector({json.dumps(selector)}).value = {json.dumps(value)}; 0")
    tab.look("document.querySelector('button[value=check]').focus(); 0")
    tab.key("Enter", leads_on=True)


def take_pictures(room: str, tab: Tab) -> None:
    """Open each screen, and write its picture."""
    tab.open(f"{room}sign-in")
    for name, (path, height) in SCREENS.items():
        tab.screen(WIDTH, height)
        tab.open(f"{room}{path}")
        if name == "import":
            try_import(tab)
        answer = tab.ask("Page.captureScreenshot", format="webp", quality=80)
        (FOLDER / f"{name}.webp").write_bytes(base64.b64decode(answer["data"]))
        print(f"docs/room/{name}.webp")


def main() -> None:
    """Take all pictures."""
    with demo_room() as room, tempfile.TemporaryDirectory() as profile, chromium(Path(profile), "en") as tab:
        take_pictures(room, tab)


if __name__ == "__main__":
    main()
