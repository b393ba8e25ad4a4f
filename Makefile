# make build   set up what is missing, then build, measure and prove the bundled model on this machine
# make test    the whole test suite         make lint    ruff         make types   mypy
#
# A version of your own: make build PYTHON=python3.12
# Another torch:         make build TORCH=torch==2.13.0+cpu
#   On Linux the plain `torch` wheel brings several GB of CUDA: right with an NVIDIA GPU, a waste without one. For
#   the small wheel let pip see PyTorch's CPU index first (its "Get started" page names it): export
#   PIP_EXTRA_INDEX_URL with that address and set TORCH=torch==2.13.0+cpu. For another CUDA release likewise.

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
PROFILE ?= cpu

BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up

.PHONY: build test lint types wheel set-up clean
.DELETE_ON_ERROR:

build: set-up
	$(BIN)/python -m workbench build --profile $(PROFILE)

test: set-up
	$(BIN)/python -m pytest

lint: set-up
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: set-up
	$(BIN)/mypy

wheel: set-up
	$(BIN)/python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist .

set-up: $(STAMP)

# Done once, and again when a requirement changes.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip check
	touch $@

clean:
	rm -rf $(VENV) dist build
