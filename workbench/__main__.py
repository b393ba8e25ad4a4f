"""``python -m workbench``: run the command line; errors a user can cause end in one sentence, bugs in a traceback."""

from __future__ import annotations

import atexit
import os
import signal
import sys


def main() -> None:
    """Run the command line and exit with its code: 0 done, 2 bad input, 130 interrupted."""
    import click

    from workbench.cli import cli
    from workbench.errors import WorkbenchError

    interruption = _Interruption()
    try:
        code = cli.main(prog_name="python -m workbench", standalone_mode=False)
    except WorkbenchError as error:
        click.echo(f"error: {error}", err=True)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        interruption.came = True
    except BrokenPipeError:  # the reader of our output (head, less) went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    finally:
        if interruption.came:
            click.echo("\ninterrupted: nothing half-made was kept; run the same command again to go on", err=True)
            _leave(130)
    sys.stdout.flush()
    sys.exit(code if isinstance(code, int) else 0)


class _Interruption:
    """Whether Ctrl-C came: a library in whose import or callback it strikes may report it as another error.

    A build may be stopped by a service manager too: SIGTERM unwinds like Ctrl-C, so nothing half-made stays.
    """

    def __init__(self) -> None:
        self.came = False
        signal.signal(signal.SIGTERM, self._note)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the parent wants it ignored
            signal.signal(signal.SIGINT, self._note)

    def _note(self, *_: object) -> None:
        self.came = True
        raise KeyboardInterrupt


def _leave(code: int) -> None:
    """End as ``sys.exit`` does, but with this code.

    Where Ctrl-C struck inside code that a C library had Python run, the interpreter remembers it as unhandled though it
    was caught here, and would end with its own signal instead.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
