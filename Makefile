.DELETE_ON_ERROR:
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN ?= runs/demo

.PHONY: demo test test-all check docs schema format clean

demo: $(VENV)/.ready  ## the main job: attack, defend, measure, report
	$(BIN)/steelman reproduce --out $(RUN)

test: $(VENV)/.ready-test check  ## lint, format, types, then every fast test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

test-all: $(VENV)/.ready-all check  ## the same checks, then every test that needs no GPU: slow ones, and those beside other libraries
	OMP_NUM_THREADS=1 PYTHONPATH=tests/stubs $(BIN)/python -m pytest -n auto -m 'not gpu'

check: $(VENV)/.ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.ready-test  ## the examples in docstrings and docs, run
	$(BIN)/python -m pytest src docs

schema: $(VENV)/.ready  ## docs/run.schema.json from the code
	$(BIN)/python -m steelman.spec.schema > docs/run.schema.json

format: $(VENV)/.ready-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache

# The constraints pin what the results were measured with.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "expected Python 3.11 or newer, got %d.%d: say make PYTHON=python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[report]'
	touch $@

$(VENV)/.ready-test: $(VENV)/.ready
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[report,test,check]'
	touch $@

# Other libraries ask for other versions of torch, so they come without what they depend on; tests/stubs holds what they only import.
$(VENV)/.ready-all: $(VENV)/.ready-test tests/peers.txt
	$(BIN)/python -m pip install -q --no-deps -r tests/peers.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[frames]'
	touch $@
