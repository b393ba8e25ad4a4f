"""A conversion laid out before it is run: which files it will write, part by part, and what it puts beside them.

A draft is made of the source's headers, config and tokenizer; no weight is read for it. A conversion runs a draft from
front to back (``written``). An auditor takes the same draft, has some parts made again, by the very code that wrote
them, and compares their bytes with those of a finished file (``workbench/rederive.py``): where a part lies follows from
the draft, so a file of many gigabytes is looked at in a few places.

Parts that depend on calibration texts cannot be made alone from the source. They are solved: given a folder with
the finished artifact, whose other parts are taken as they are, the texts are passed through the model as the conversion
passed them, and only the parts asked for are worked out anew.

Example::

    draft = Draft((OutputFile("w.bin", b"head", parts),), finish=lambda folder: {})
    details = written(draft, folder, checkpoint, context)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.checkpoint import Checkpoint
from workbench.formats._output import Output, OutputFile
from workbench.formats.base import ConversionContext

if TYPE_CHECKING:
    from workbench.formats._output import Values

    Put = Callable[[str, Iterable[Values]], None]
    Solve = Callable[[Collection[str], Path, Put], None]


@dataclass(frozen=True)
class Apart:
    """How a solved part as it was made again differs from the one that is stored.

    Attributes:
        told: in a few words.
        kind: ``rounding``: by no more than sums of floats do, whose last bits depend on the processor;
            ``doubtful``: as another processor's sums may have made it, or a careful hand; ``altered``: by more.
    """

    told: str
    kind: Literal["rounding", "doubtful", "altered"]


@dataclass(frozen=True)
class Draft:
    """What a conversion will write.

    Attributes:
        files: the weight files, in the order in which they are written.
        finish: writes everything that goes beside them into a folder: configs, tokenizer, graphs; returns what the
            manifest's details say of the conversion, as far as it is known without one.
        solve: works out parts that have no pieces of their own, by name, given a folder with the finished artifact;
            hands the bytes of each to the function it is given. To be called before other parts are made.
        shared: parts that all others depend on: whoever checks some must check these.
        distance: of a solved part as it was made and as it is stored (name, both as bytes).
    """

    files: tuple[OutputFile, ...]
    finish: Callable[[Path], dict[str, Any]]
    solve: Solve | None = None
    shared: tuple[str, ...] = ()
    distance: Callable[[str, bytes, bytes], Apart] | None = None


def written(draft: Draft, out: Path, checkpoint: Checkpoint, context: ConversionContext) -> dict[str, Any]:
    """Run a draft whose parts all have pieces; returns what ``finish`` does."""
    with Output(draft.files, out, checkpoint, context) as output:
        output.write_all()
    return draft.finish(out)
