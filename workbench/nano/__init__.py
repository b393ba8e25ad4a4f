"""sqlcoder-nano: the small real StarCoder this project trains and ships, with its data.

``MODEL_DIR`` holds the checkpoint in Hugging Face layout, ``DATA_DIR`` the databases and question
files in the layout of ``workbench.questions``. Importing this module imports nothing heavy.
"""

from pathlib import Path

MODEL_NAME = "sqlcoder-nano"
MODEL_DIR = Path(__file__).parent / "model"
DATA_DIR = Path(__file__).parent / "data"
