# The one door to everything; needs make and Python 3.11 or newer, nothing else.
#
#   make demo    install what the lock says, study the shipped sample, say where the report is
#   make test    the same with the tools of development, then every test
#   make lint    ruff, mypy, import-linter, sqlfluff
#   make wheel   build dist/*.whl;  make lock  compile the locks again;  make calibrate
#   make bench   the main job, timed;  make bench-evidence  a fleet's evidence (BENCH_ARGS=--full)
#   make bench-engine  policies against rivals in the simulated fleet, hours;  make thresholds
#   make fuzz    mutated input for every parser, a minute each (FUZZ_SECONDS)
#   make kill    ingestion killed at 20 random moments (KILLS) and resumed;  make clean

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# compiling every module would take longer than compiling what is used when it is used
INSTALL_LOCK := $(PIP) install --no-compile --require-hashes --requirement
# the build tools stand in the lock too, so building fetches nothing
INSTALL_SELF := $(PIP) install --no-deps --no-build-isolation --editable .
TEST_ARGS ?= -n 2
FUZZ_SECONDS ?= 60
DEMO ?= demo-study

# numbers that do not depend on how many threads a machine has
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help demo test lint wheel check-wheel lock bench bench-evidence bench-engine thresholds calibrate fuzz kill clean

help:
	@sed -n '3,10s/^# *//p' Makefile

demo: $(VENV)/.runtime
	$(BIN)/signalstudy demo --out $(DEMO)
	@echo "The report: $(abspath $(DEMO))/report.html"

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(TEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint queries

wheel: $(VENV)/.dev
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .

check-wheel: wheel
	$(BIN)/python tests/house/try_wheel.py dist/*.whl

lock: $(VENV)/.dev
	$(PIP) install "uv>=0.5"
	$(BIN)/python -m uv pip compile $(LOCK_OPTIONS) --group dev --output-file requirements-dev.txt pyproject.toml
	$(BIN)/python -m uv pip compile $(LOCK_OPTIONS) --group build --constraint requirements-dev.txt --output-file requirements.txt pyproject.toml

# one lock for Linux and macOS, x86 and arm, every Python we support; it names no index
LOCK_OPTIONS := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url

fuzz: $(VENV)/.dev
	$(BIN)/python tests/fuzz/fuzz.py --seconds $(FUZZ_SECONDS)

kill: $(VENV)/.dev
	KILLS=$(or $(KILLS),20) $(BIN)/python -m pytest tests/real_servers/test_resume.py

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/run.py

bench-evidence: $(VENV)/.dev
	$(BIN)/python benchmarks/evidence/run.py $(BENCH_ARGS)

# policies against rivals, request by request: BENCH_ARGS="day --quicken 8" for a first look
bench-engine: $(VENV)/.dev
	$(BIN)/python benchmarks/engine/run.py $(BENCH_ARGS)
	$(BIN)/python benchmarks/engine/agreement.py

# simulated pressure tests against knees known from constant rates; THRESHOLDS_ARGS=--points: sweeps
thresholds: $(VENV)/.dev
	$(BIN)/python benchmarks/thresholds/run.py $(THRESHOLDS_ARGS)

# one process a core; SERVICES=1000 is the whole calibration
calibrate: $(VENV)/.dev
	$(BIN)/python benchmarks/calibration/run.py --services $(or $(SERVICES),100)

clean:
	rm -rf $(VENV) dist build $(DEMO) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.runtime: requirements.txt pyproject.toml | $(BIN)/python
	$(INSTALL_LOCK) requirements.txt
	$(INSTALL_SELF)
	@touch $@

$(VENV)/.dev: requirements-dev.txt pyproject.toml | $(BIN)/python
	$(INSTALL_LOCK) requirements-dev.txt
	$(INSTALL_SELF)
	@touch $@ $(VENV)/.runtime

# the newest Python that we support and that can make virtual environments, or PYTHON=... alone
PYTHONS := $(or $(PYTHON),python3.14 python3.13 python3.12 python3.11 python3 python)

$(BIN)/python:
	@lame=; for python in $(PYTHONS); do \
		"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null || continue; \
		if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
			echo "making $(VENV) with $$("$$python" --version)"; \
			exec "$$python" -m venv $(VENV); \
		fi; \
		lame="$$python"; \
	done; \
	if test -n "$$lame"; then \
		echo "$$lame cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
	else \
		echo "none of $(PYTHONS) is Python 3.11 to 3.14; name one with PYTHON=/path/to/python3" >&2; \
	fi; \
	exit 1
