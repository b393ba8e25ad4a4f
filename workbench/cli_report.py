"""``workbench report``: make the page of a build's report again, for a browser."""

from __future__ import annotations

from pathlib import Path

import click

from workbench.cli_options import PATH


@click.command("report", short_help="Make a report's page for a browser.")
@click.argument("report", type=PATH)
@click.option("--out", type=PATH, help="File for the page. Default: report.html beside the report.")
def report_page(report: Path, out: Path | None) -> None:
    """Make the page of a build's REPORT again: its report.json, or the folder that holds it.

    Every build writes the page; this makes it anew, of a report from another machine too. The page is one file, and
    needs no network.
    """
    from workbench.report_html import make_page

    click.echo(f"Page: {make_page(report, out)}")
