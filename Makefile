# `make demo` and `make test` set up everything they need on a fresh machine, then do their job.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv does not read pip's settings; a folder of wheels named for pip serves both.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
SSCL_REALDATA ?= $(wildcard ../shared/realdata)
export SSCL_REALDATA := $(if $(SSCL_REALDATA),$(abspath $(SSCL_REALDATA)))

.PHONY: demo test lint clean

demo: $(VENV)/.demo
	rm -rf demo-out
	$(BIN)/sscl-geo demo --out demo-out

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(BIN)/uv:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.demo: pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[all]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo-out dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
