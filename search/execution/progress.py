"""The progress line of a search: trials by state, best CIDEr, hypervolume, time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from search.engine.search import Search
from search.results.hypervolume import HypervolumeScale
from search.results.trial_counts import trial_counts
from search.study.history import History, final_values
from search.study.settings import Settings

PLAIN_EVERY_S = 15.0  # shortest interval between lines where there is no terminal


class Progress:
    """The progress line, on stderr: stdout is for results."""

    def __init__(self, search: Search, settings: Settings) -> None:
        self.search, self.settings = search, settings
        self.console = Console(file=sys.stderr)
        self.started = time.monotonic()
        self.legs_before = _legs(search.history)
        self._live: Live | None = None
        self._ended = False
        self._printed = self._drawn = 0.0
        self._last = self._note = ""
        self._history: History = search.history

    def begin(self, slots: int, kind: str) -> None:
        """Print the number of workers and start the line."""
        self.console.print(f"{slots} worker{'s' * (slots > 1)}, one a {kind}; first captions in about half a minute")
        if self.console.is_terminal:
            self._live = Live(Text(""), console=self.console, refresh_per_second=2, transient=True)
            self._live.start()

    def update(self) -> None:
        """Read the search again and redraw. Called whenever a leg starts or ends."""
        self._history = self.search.history
        self.draw()

    def say(self, note: str) -> None:
        """Show `note` in place of the time left, or the time again for "". Without a terminal it is printed once."""
        self._note = note
        if note and not self._live:
            self.console.print(note, markup=False, highlight=False, soft_wrap=True)
        self.draw()

    def print(self, line: str) -> None:
        """Print a line that stays, above the progress line."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def draw(self) -> None:
        """Redraw the line; the time left changes even when no leg ends."""
        text = self.line()
        now = self._drawn = time.monotonic()
        if self._live:
            self._live.update(Text(text))
        elif now - self._printed > PLAIN_EVERY_S and text != self._last:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)
            self._printed, self._last = now, text

    def end(self) -> None:
        """Replace the live line by a final one. Later calls do nothing."""
        if self._ended:
            return
        self._ended = True
        if self._live:
            self._live.stop()
        self._history = self.search.history  # candidates stopped at the end change without a leg
        self.console.print(self.line(), markup=False, highlight=False, soft_wrap=True)

    def line(self) -> str:
        """The current text of the line."""
        history = self._history
        parts = [f"trials (of {self.settings.trials}): {trial_counts(history)}"]
        if any(c.in_flight and c.reference for c in history):
            parts.append("references running")
        ciders = [c.final.metrics["cider"] for c in history if c.final and "cider" in c.final.metrics]
        if ciders:
            parts.append(f"best CIDEr {max(ciders):.1f}")
        objectives = self.search.settings.objectives
        if (scale := HypervolumeScale.of(history, objectives)) is not None:
            points = [v for c in history if (v := final_values(c, objectives)) is not None]
            parts.append(f"hypervolume {scale.share(points):.3f}")
        if not self._ended:
            parts.append(self._note or _time_left(self._seconds_time_left()))
        return " | ".join(parts)

    def tick(self) -> None:
        """Redraw at most once a second. Called often."""
        if time.monotonic() - self._drawn > 1.0:
            self.draw()

    def _seconds_time_left(self) -> float | None:
        bound = self.search.budget.left_s(self._history, self.search.settings.slots)
        expected = self._expected()
        return expected if bound is None else bound if expected is None else min(bound, expected)

    def _expected(self) -> float | None:
        """Seconds until all trials are done at the pace so far, if none is stopped early; None before three legs."""
        legs = _legs(self._history) - self.legs_before
        if legs < 3:
            return None
        per_leg = (time.monotonic() - self.started) / legs
        expected = (self.settings.trials + 2) * len(self.search.settings.rungs) - self.legs_before
        return max(0.0, (expected - legs) * per_leg)


@contextmanager
def status_line(text: str) -> Iterator[Callable[[str], None]]:
    """A status line on stderr for a long task; gives a function that rewrites it. Without a terminal it is printed once."""
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        yield lambda _: None
        return
    with Live(Text(text), console=console, refresh_per_second=4, transient=True) as live:
        yield lambda new: live.update(Text(new))


def _legs(history: History) -> int:
    return sum(len(c.rungs) for c in history)


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return "time left: not known yet"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min left" if hours else f"{minutes} min {rest:02} s left"
