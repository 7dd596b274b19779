# make demo    train on a built-in text for two minutes, evaluate, sample
# make test    run the tests, a few cases of each, on up to four cores: two or three minutes
# make check   linters, types and tests
# make soak    the tests with every case and long counts, into docs/soak.md: three quarters of an hour or so
# make tasks   every cell on every synthetic source, into docs/tasks.md: half an hour or so
# make tutorial  run the commands of docs/tutorial.md again, and rewrite it: half an hour or so
#
# Everything is installed into .venv, at the versions of constraints.txt.
#   PYTHON=python3.12       another interpreter (3.11 or newer)
#   TORCH_INDEX=URL         where pip finds another build of torch; see the README
#   CORPUS=markov TIME=30s  another built-in text or length for the demo

PYTHON ?= python3
VENV ?= .venv
CORPUS ?= python-stdlib
TIME ?= 2m

BIN := $(VENV)/bin
INSTALL := PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: demo test soak tutorial lint types check fix bench tasks clean

demo: $(VENV)/.charlm
	$(BIN)/charlm prepare $(CORPUS)
	$(BIN)/charlm train $(CORPUS) --time $(TIME)
	$(BIN)/charlm eval
	@echo
	$(BIN)/charlm sample --length 400 --temperature 0.8 --seed 1
	@echo
	@echo
	@echo "That was a model of $(CORPUS), trained for $(TIME); it is in runs/. What to try next:"
	@echo "  source $(BIN)/activate                         so that the command is just: charlm"
	@echo "  charlm sample --prompt 'def ' --temperature 0.5  a prompt, and safer text"
	@echo "  charlm prepare YOUR.txt && charlm train --time 10m && charlm sample"
	@echo "  charlm train --help                              every cell, size and optimiser"

test: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4

soak: $(VENV)/.dev
	$(BIN)/python -m pytest --soak

tutorial: $(VENV)/.charlm
	$(BIN)/python docs/retell.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

check: lint types test

fix: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.charlm
	$(BIN)/python -m benchmarks

tasks: $(VENV)/.charlm
	$(BIN)/python -m benchmarks.tasks

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: charlm needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) --version); set PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.charlm: $(BIN)/pip pyproject.toml constraints.txt
	$(INSTALL) --quiet --editable ".[plots]"
	@touch $@

$(VENV)/.dev: $(VENV)/.charlm
	$(INSTALL) --quiet --editable ".[dev]"
	@touch $@
