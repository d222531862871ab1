# Everything on a fresh machine with Python 3.11+ and make: `make run`, `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEBIAN := chromium postgresql gcc libc6-dev clang libclang-rt-dev cmake qemu-system-arm qemu-system-misc \
  gcc-arm-none-eabi libnewlib-arm-none-eabi gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf
RUN := runs/mobilenet_v2-hifive1
TWO := -n 2 --dist loadfile --no-loadscope-reorder # processes, each with whole files (tests/conftest.py)

.PHONY: run venv venv-dev debian lint types contracts test test-all fuzz bench ranking post-training readme screenshots results code-tables instructions lock clean

run: venv
	$(BIN)/bqsearch run --model mobilenet_v2 --target hifive1 $(if $(wildcard $(RUN)/*),--resume)

venv: $(VENV)/.run
venv-dev: $(VENV)/.dev

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	touch $@

# Tests that need a missing package are skipped by its name.
debian:
	@missing=""; for package in $(DEBIAN); do dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Debian packages:$$missing"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing; } >/dev/null \
	    || echo "could not install:$$missing; the tests that need them are skipped"; \
	else echo "Debian packages missing:$$missing; the tests that need them are skipped"; fi

lint: venv-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv-dev
	$(BIN)/mypy

contracts: venv-dev
	$(BIN)/lint-imports

test: venv-dev debian lint types contracts
	$(BIN)/pytest $(TWO) -m "not slow"

test-all: venv-dev debian lint types contracts
	$(BIN)/pytest $(TWO)

# For every night: the importer against 20,000 mutated files, blindly and guided by coverage.
fuzz: venv-dev
	$(BIN)/python tests/importers/fuzz.py --runs 20000
	$(BIN)/python tests/importers/fuzz.py --runs 20000 --coverage

# Bytes of the published networks against the bars of the field; their files lie where BQSEARCH_MODELS and BQSEARCH_DATA say.
post-training: venv-dev
	$(BIN)/python benchmarks/post_training.py

ranking: venv-dev
	$(BIN)/python benchmarks/ranking.py

bench: venv-dev
	$(BIN)/python benchmarks/search_speed.py
	$(BIN)/python benchmarks/pool.py
	$(BIN)/python benchmarks/driver.py
	$(BIN)/python benchmarks/bank_speed.py
	$(BIN)/python benchmarks/tracking.py

# Runs the command in the README and puts what it prints and draws there.
readme: venv-dev
	$(BIN)/python benchmarks/readme.py

# Looks at the README's run in MLflow's own UI, and puts pictures of it into docs/.
screenshots: run venv-dev
	BQSEARCH_UI_RUN=$(RUN) BQSEARCH_SCREENSHOTS=docs $(BIN)/pytest tests/tracking/test_ui.py

# Runs the studies of real networks, which lie where BQSEARCH_MODELS and BQSEARCH_DATA say, and puts the table there.
results: venv-dev
	$(BIN)/python benchmarks/results.py

# What each kernel of the C runtime links, for boards whose compiler is installed.
code-tables: venv-dev
	$(BIN)/python benchmarks/code_table.py

# What its work takes, counted on the emulated boards.
instructions: venv-dev
	$(BIN)/python benchmarks/instructions.py

lock: venv-dev
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra build --extra tflm --output-file requirements.lock
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra build --extra tflm --extra dev --extra keras --extra postgres --extra ray --constraint requirements.lock --output-file requirements-dev.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
