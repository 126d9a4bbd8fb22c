# `make demo` and `make test` set up everything they need on a fresh machine, then do their job.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv does not read pip's settings; a folder of wheels named for pip serves both.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# What is imported is compiled once, and not again by each of the many processes.
unexport PYTHONDONTWRITEBYTECODE

# How often the long chaos kills in each of its tests, and how many inputs each fuzzer damages.
KILLS ?= 100
INPUTS ?= 1500

.PHONY: demo test chaos audit sbom lint clean

demo: $(VENV)/.demo
	rm -rf demo-out
	$(BIN)/sscl-geo demo --out demo-out

# Two processes of one thread each, for two cores; the order of modules is that of tests/conftest.py.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# An hour or two; the last line but those of pytest counts what was tried, and what was lost.
chaos: $(VENV)/.dev
	$(BIN)/python -m pytest tests/chaos tests/fuzz tests/runtime/test_states.py tests/io/test_s3.py \
		tests/stages/test_kills.py tests/stages/test_map.py tests/stages/test_training_faults.py \
		-k "kill or chaos or fuzz or states or removed" --kills $(KILLS) --inputs $(INPUTS)

# Known weaknesses of what is installed, asked of the Python Packaging Advisory Database.
audit: $(VENV)/.demo
	$(BIN)/uv tool run pip-audit --path $$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')

# A software bill of materials (CycloneDX) of what is installed.
sbom: $(VENV)/.demo
	$(BIN)/uv tool run --from cyclonedx-bom cyclonedx-py environment $(BIN)/python --output-file sbom.json

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
