PYTHON ?= python3
VENV := .venv

.PHONY: demo test test-all coverage guide bench peers setup clean
setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("firstlight needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "setting up $(VENV) (once; a few minutes)"
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --no-compile --editable '.[dev,guide]'
	@$(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true  # on all cores, where pip takes one; some files are no Python
	@touch $@

demo: setup
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/demo

test: setup
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/check
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/test

# The slow tests too.
test-all: setup
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/check
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/test -m ''

# What the quick tests cover of each room; they take half as long again.
coverage: setup
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/test --cov --cov-report=
	@$(VENV)/bin/python scripts/coverage

# Runs the chapters, and fails on any warning; uses the real sets if they are there.
SETS := $(wildcard ../shared/data)
guide: setup
	@FIRSTLIGHT_DATA="$${FIRSTLIGHT_DATA:-$(abspath $(SETS))}" $(VENV)/bin/python -m sphinx --fail-on-warning --keep-going --quiet guide guide/site/html
	@echo "the guide: guide/site/html/index.html"

# The alternatives to firstlight, in their own environment (about 7 GB, once).
PEERS := .venv-peers
peers: $(PEERS)/.ready

$(PEERS)/.ready: benchmarks/requirements-peers.txt
	@test -x $(PEERS)/bin/pip || $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install -qq --disable-pip-version-check --requirement $<
	@touch $@

# All parts by default; some with PARTS="mlp-mnist startup".
bench: setup peers
	@$(VENV)/bin/python benchmarks/bench.py $(PARTS)

clean:
	rm -rf $(VENV) $(PEERS) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.*
