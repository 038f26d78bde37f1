# Each target sets up what it needs; a second call installs nothing.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip install --quiet --constraint constraints.txt

.PHONY: search gpu-check test test-browser lint tests chaos install install-cluster clean help

help:            ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 16

search: $(VENV)/.run   ## run the default search: the tiny base on generated data, minutes on a CPU
	$(PY) -m search.run --space pruning

gpu-check: $(VENV)/.run ## check whether a base fits on this GPU, whether fast code is right, what a trial costs (BASE=...)
	$(PY) -m rsopt.gpu_check $(if $(BASE),--base $(BASE))

test: lint tests ## run lint and tests, as continuous integration does

lint: $(VENV)/.dev     ## check format, style, types and import contracts
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

tests: $(VENV)/.dev    ## run the test suite on two cores; tests of a file share its fixtures, so they stay together
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-browser: $(VENV)/.browser ## test the web page and MLflow's saved view in a headless Chromium
	@command -v chromedriver >/dev/null || { echo "Chromium and its driver are needed, such as: apt-get install chromium chromium-driver"; exit 1; }
	$(PY) -m pytest -m browser -s tests/browser

chaos: $(VENV)/.dev    ## kill processes, cut connections and fill disks at random (under 30 minutes; CHAOS_TIMES=1: short)
	$(PY) -m pytest tests/chaos -o python_files='chaos_*.py' -n 2 --dist loadfile --no-loadscope-reorder -rP --ignore tests/chaos/chaos_signals.py
	$(PY) -m pytest tests/chaos/chaos_signals.py -o python_files='chaos_*.py' -s

install: $(VENV)/.run  ## create the environment

install-cluster: $(VENV)/.cluster ## create the environment with Ray's launcher, jobs and dashboard (docs/cluster.md)

clean:           ## remove the environment and caches, keep the studies
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache *.egg-info

$(VENV)/.run: pyproject.toml constraints.txt
	@echo "installing into $(VENV) (once, about two minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say which with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@touch $@

$(VENV)/.browser: $(VENV)/.dev
	$(PIP) --editable '.[dev,browser]'
	@touch $@

$(VENV)/.cluster: $(VENV)/.run
	$(PIP) --editable '.[cluster]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) --editable '.[dev]'
	@touch $@
