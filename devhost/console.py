"""Progress in the terminal: a line for each step with its seconds. Standard library only, Python 3.9 and newer."""

from __future__ import annotations

import sys
import threading
import time
from typing import TextIO

_HEARTBEAT_SECONDS = 10.0


class Failure(Exception):
    """Something the user has to know or do; printed without a traceback.

    `advice` says what to do next, `log` holds the last lines of whatever failed.
    """

    def __init__(self, message: str, advice: str = "", log: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.log = log

    def render(self) -> str:
        """The failure as the lines shown to the user."""
        parts = [f"error: {self.message}"]
        if self.log:
            parts += ["", "\n".join("    " + line for line in self.log.rstrip().splitlines()), ""]
        if self.advice:
            parts.append(f"what to do: {self.advice}")
        return "\n".join(parts)


class Step:
    """One step of a longer job, as a context manager.

    On a terminal the line is redrawn as `detail` changes; elsewhere a line appears at the end, and every ten seconds in
    between so that a log never looks hung.
    """

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        self.title = title
        self.result = ""
        self._detail = ""
        self._stream = sys.stdout if stream is None else stream
        self._live = self._stream.isatty()
        self._done = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._started

    def detail(self, text: str) -> None:
        """Say what is going on inside the step."""
        self._detail = text

    def __enter__(self) -> Step:
        self._started = time.monotonic()
        self._ticker.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._done.set()
        self._ticker.join()
        mark = "ok  " if error is None else "FAIL"
        self._write(self._line(mark, self.result or (self._detail if error is not None else "")), final=True)

    def _line(self, mark: str, text: str) -> str:
        return f"  {mark} {self.title:<28} {self.seconds:6.1f} s  {text}".rstrip()

    def _write(self, line: str, final: bool) -> None:
        if self._live:
            self._stream.write("\r\x1b[2K" + line[:150] + ("\n" if final else ""))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def _tick(self) -> None:
        while not self._done.wait(0.2 if self._live else _HEARTBEAT_SECONDS):
            self._write(self._line(" .. ", self._detail), final=False)


def bar(fraction: float, width: int = 24) -> str:
    """A progress bar for a fraction between 0 and 1."""
    filled = round(max(0.0, min(1.0, fraction)) * width)
    return "[" + "#" * filled + "." * (width - filled) + f"] {100 * fraction:3.0f} %"
