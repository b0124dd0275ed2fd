# `make run` shows what microdollar does; `make test` checks all of it. Needs Python 3.11+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: run test lint docs wheel extras clean

run: $(VENV)/.run
	$(BIN)/microdollar demo --out demo

test: $(VENV)/.test lint
	$(BIN)/python -m pytest -q

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Warnings are errors. Open build/site/index.html.
docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The wheel in empty environments: each of these extras does with nothing else what it is for.
wheel: $(VENV)/.test
	rm -rf dist
	$(PIP) wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/python tests/wheel/check.py dist/*.whl core counts report ui

# And the larger ones: ten minutes.
extras: wheel
	$(BIN)/python tests/wheel/check.py dist/*.whl parquet cluster federated torch tokens concepts

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "microdollar needs Python 3.11 or newer. Type: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)

# torch first: with the pinned version there, no other package asks for a larger build of it.
$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt torch==2.13.0
	$(PIP) install --quiet --constraint constraints.txt --editable '.[all]'
	touch $@

$(VENV)/.test: $(VENV)/.run
	$(PIP) install --quiet --constraint constraints.txt --editable '.[all,dev]'
	touch $@

clean:
	rm -rf $(VENV) demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
