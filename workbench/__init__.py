"""SQLCoder workbench: convert, measure and prove self-hosted text-to-SQL models.

The flow, in the field's standard terms::

    Checkpoint + Recipe x HardwareProfile -> plan() -> Format.convert() -> Artifact
        -> Runtime -> [Measurement]  and  Eval -> [Score]  -> Report -> Tracker.log()

Importing this package imports nothing heavy: torch, transformers, mlflow and psycopg are
imported inside the functions that use them, so ``--help`` and ``plan`` answer at once.
"""

__version__ = "0.1.0"
