"""Progress in a log, in a terminal and in a notebook: with rate and remaining time, also without ipywidgets."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import nbformat
import pytest
from nbclient import NotebookClient

from feastra_nb.reporting import progress
from feastra_nb.reporting.progress import LogBar, bar, line

SLOW = """
import time
from feastra_nb.reporting.progress import bar, line
with bar(40_000, "planes", "rows") as shown:
    for _ in range(4):
        time.sleep(0.25)
        shown.update(10_000)
with line() as say:
    say("one")
    say("two")
"""


@pytest.fixture
def log(capsys):
    """Return what a process without a terminal wrote to its standard error."""
    return lambda: capsys.readouterr().err


def test_a_short_work_is_one_line_of_a_log(log):
    with bar(4_000, "planes", "rows") as shown:
        shown.update(4_000)
    (only,) = log().splitlines()
    assert only.startswith("planes: 4,000 rows in 0.0 s, ")
    assert only.endswith(" rows/s")


def test_a_long_work_has_a_line_now_and_then_with_rate_and_remaining_time(log, monkeypatch):
    monkeypatch.setattr(progress, "LOG_INTERVAL_S", 0.0)
    with bar(4_000, "planes", "rows") as shown:
        for _ in range(2):
            shown.update(1_000)
            shown.refresh()
    lines = log().splitlines()
    assert any(one.startswith("planes: 1,000 of 4,000 rows, ") and one.endswith(" s left") for one in lines)
    assert lines[-1].startswith("planes: 2,000 rows in ")


def test_what_is_stopped_says_how_far_it_came(log):
    def work():
        with bar(4_000, "planes", "rows") as shown:
            shown.update(1_000)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    said = log()
    assert said.startswith("planes: stopped at 1,000 of 4,000 rows, ")
    assert "left" not in said


def test_of_a_line_that_is_renewed_a_log_holds_the_last_state(log):
    with line() as say:
        say("starting … 1 s")
        say("starting … answered after 1.5 s")
    assert log() == "starting … answered after 1.5 s\n"


def test_nothing_is_shown_where_nothing_is_to_be(log):
    with bar(4, "planes", "rows", shown=False) as shown, line(shown=False) as say:
        shown.update(4)
        say("one")
    assert log() == ""
    assert LogBar(total=1, desc="x", disable=True).text == ""


def test_a_total_that_is_not_known_is_not_shown(log, monkeypatch):
    monkeypatch.setattr(progress, "LOG_INTERVAL_S", 0.0)
    with bar(None, "pruning", "rows") as shown:
        shown.update(7)
        shown.refresh()
    assert "pruning: 7 rows, " in log()


def test_a_terminal_has_a_bar_with_rate_and_remaining_time():
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    try:
        subprocess.run([sys.executable, "-c", SLOW], stdout=child, stderr=child, check=True, timeout=60)
        os.close(child)
        shown = b""
        while True:
            try:
                shown += os.read(parent, 65_536)
            except OSError:  # all was read
                break
    finally:
        os.close(parent)
    text = shown.decode()
    assert "planes: 100%" in text
    assert "k rows/s" in text
    assert "two" in text
    assert "<" in text  # between the time that passed and the time that is left


def outputs(tmp_path, *cells):
    """Run cells in a kernel, and return every state of every output, as they came over the wire."""
    content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(content, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    seen = []

    def keep(cell, message, index):
        if message["msg_type"] in {"display_data", "update_display_data", "stream", "error"}:
            seen.append((message["msg_type"], message["content"]))
        return NotebookClient.process_message(client, message, cell, index)

    client.process_message = lambda message, cell, index: keep(cell, message, index)
    client.execute(cwd=str(tmp_path))
    return content, seen


STOPPED = """
from feastra_nb.reporting.progress import bar
try:
    with bar(9, "<b>", "rows") as shown:
        shown.update(2)
        1 / 0
except ZeroDivisionError:
    pass
"""
WITHOUT_WIDGETS = "import sys\nsys.modules['ipywidgets'] = None"


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", WITHOUT_WIDGETS], ids=["with ipywidgets", "without"])
def test_a_notebook_has_one_display_that_is_renewed_and_then_gone(tmp_path, before):
    content, seen = outputs(tmp_path, before, SLOW)
    kinds = [kind for kind, _ in seen]
    assert "stream" not in kinds
    assert kinds.count("display_data") == 2  # the bar and the line, each once
    pages = [one["data"]["text/html"] for _, one in seen]
    assert any(
        '<progress value="20000" max="40000"' in page and "rows/s" in page and "s left" in page for page in pages
    )
    assert [output["data"] for output in content.cells[1].outputs] == [{"text/plain": "", "text/html": ""}] * 2


@pytest.mark.slow
def test_a_notebook_keeps_what_was_stopped(tmp_path):
    content, _seen = outputs(tmp_path, STOPPED)
    ((output,),) = [cell.outputs for cell in content.cells]
    assert output["data"]["text/plain"].startswith("<b>: stopped at 2 of 9 rows")
    assert "&lt;b&gt;: stopped at 2 of 9 rows" in output["data"]["text/html"]
