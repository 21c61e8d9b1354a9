"""Records the picture in the README: runs `terratunnel demo` for real, calls it, and draws what both printed as SVG.

For whoever changes the demo: `make picture`. Everything in the picture was printed by the run that made it.
"""

import io
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).with_name("demo.svg")
WIDTH = 118
DEADLINE_S = 30.0
HIDDEN = ("INFO", "WARNING", "older curl", "--resolve")


def main() -> None:
    """Run the demo, call it, draw it."""
    command = [sys.executable, "-m", "terratunnel", "--log-level", "ERROR", "demo"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watchdog = threading.Timer(DEADLINE_S, demo.kill)
    watchdog.start()
    try:
        assert demo.stdout is not None
        before = _lines_until(demo.stdout, "Ctrl-C")
        url = re.search(r"http://\S+\.localhost:\d+", "".join(before))
        assert url is not None
        call = ["curl", "-s", "-d", "hello", f"{url[0]}/hook"]
        answer = subprocess.run(call, capture_output=True, text=True, check=True).stdout
        after = _lines_until(demo.stdout, "/hook ->")
    finally:
        watchdog.cancel()
        demo.terminate()
        demo.wait()
    _draw(before, " ".join(call), answer, after)


def _lines_until(stream: IO[str], word: str) -> list[str]:
    lines: list[str] = []
    for line in stream:
        lines.append(line)
        if word in line:
            break
    return lines


def _draw(before: list[str], call: str, answer: str, after: list[str]) -> None:
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ make run", style="bold"))
    shown = "".join(line for line in before if not any(word in line for word in HIDDEN))
    console.print(Text(re.sub(r"\n{3,}", "\n\n", shown).rstrip()))
    console.print(Text("".join(line for line in after if "->" in line).rstrip(), style="green"))
    console.print()
    console.print(Text(f"$ {call}", style="bold"))
    console.print(Text(answer if len(answer) < 400 else answer[:397] + "…", overflow="fold"))
    svg = console.export_svg(title="terratunnel")
    # The fonts it would fetch from elsewhere: a reader's own monospace will do.
    PICTURE.write_text(re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
