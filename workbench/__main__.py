"""``python -m workbench``: run the command line; errors a user can cause end in one sentence, bugs in a traceback."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run the command line and exit with its code: 0 done, 2 bad input, 130 interrupted."""
    import click

    from workbench.cli import cli
    from workbench.errors import WorkbenchError

    # A build may be stopped by a service manager too: SIGTERM unwinds like Ctrl-C, so nothing half-made stays.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = cli.main(prog_name="python -m workbench", standalone_mode=False)
    except WorkbenchError as error:
        click.echo(f"error: {error}", err=True)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("\ninterrupted: nothing half-made was kept; run the same command again to go on", err=True)
        code = 130
    except BrokenPipeError:  # the reader of our output (head, less) went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.stdout.flush()
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
