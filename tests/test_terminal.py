"""What is told while bytes are written, where there is no terminal."""

from workbench.terminal import Terminal


def test_bytes_are_told_in_the_units_of_all_other_sizes(capsys, monkeypatch):
    monkeypatch.setattr("workbench.terminal.PIPE_EVERY_S", 0.0)
    terminal = Terminal()
    terminal.advance("bytes", 0, 3 * 1024**3)
    terminal.advance("bytes", 1536 * 1024**2, 3 * 1024**3)
    told = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert told == ["0 B of 3.0 GiB written", "1.5 GiB of 3.0 GiB written"]
