# Each target sets up what it needs; a second call installs nothing.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip install --quiet --constraint constraints.txt

.PHONY: search gpu-check test test-browser lint tests chaos install install-cluster clean help

help:            ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 16

search: $(VENV)/.run   ## the embedded default: search over the tiny base on generated data
	$(PY) -m search.run --space pruning

gpu-check: $(VENV)/.run ## does it fit on this GPU, is fast equal to slow, what will a trial cost (BASE=...)
	$(PY) -m rsopt.gpu_check $(if $(BASE),--base $(BASE))

test: lint tests ## what continuous integration runs

lint: $(VENV)/.dev     ## format, style, types and the floors (which module may import which)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

tests: $(VENV)/.dev    ## the test suite, on two cores (a file's tests share its fixtures, so they stay together)
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-browser: $(VENV)/.browser ## the page and MLflow's saved view in a headless Chromium
	@command -v chromedriver >/dev/null || { echo "Chromium and its driver are needed, such as: apt-get install chromium chromium-driver"; exit 1; }
	$(PY) -m pytest -m browser -s tests/browser

chaos: $(VENV)/.dev    ## kill, cut off and fill up everything at random (under 30 minutes; CHAOS_TIMES=1 for a short one)
	$(PY) -m pytest tests/chaos -o python_files='chaos_*.py' -n 2 --dist loadfile --no-loadscope-reorder -rP --ignore tests/chaos/chaos_signals.py
	$(PY) -m pytest tests/chaos/chaos_signals.py -o python_files='chaos_*.py' -s

install: $(VENV)/.run  ## the environment alone

install-cluster: $(VENV)/.cluster ## the environment with Ray's launcher, jobs and dashboard (docs/cluster.md)

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
