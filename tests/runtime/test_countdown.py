"""Lines that say how far a loop is."""

import logging
import threading

from privbench.runtime import countdown
from privbench.runtime.countdown import Countdown


def test_a_quick_training_says_nothing(clock, caplog):
    """A loop that is over within two seconds."""
    caplog.set_level(logging.INFO)
    with Countdown("training", 3) as shown:
        for _ in range(3):
            clock.now += 0.5
            shown.advance()
    assert not caplog.records


def test_a_line_comes_amid_a_long_step(monkeypatch, caplog):
    """The first step of a large network may take longer than a person waits for a word."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(countdown, "FIRST", 0.01)
    monkeypatch.setattr(countdown, "_show_bars", [False])
    written = threading.Event()
    monkeypatch.setattr(countdown.LOG, "info", lambda *messages: written.set())
    with Countdown("training", 3):
        assert written.wait(30), "no line came amid the step"
