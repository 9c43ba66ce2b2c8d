# The verbs of this project. `make setup` makes a virtual environment once; the others reuse it.
#   make test PYTHON=python3.12 VENV=/tmp/venv   another interpreter, another place for the environment
#   make test PY=python                          your own environment, with your own Detectron2; no .venv

PYTHON ?= python3
VENV ?= .venv

ifdef PY
READY :=
else
PY := $(VENV)/bin/python
READY := $(VENV)/.stamp
endif

# Two processes with one thread each; a process takes tests from the other when it has none left.
PARALLEL ?= -n 2 --dist worksteal

DETECTRON2 := $(wildcard packaging/detectron2/*)

.PHONY: help setup demo demo-teacher test test-fast test-faults lint types format

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-14s%s\n", $$1, $$2}' Makefile

setup: $(READY) ## make .venv with the tested versions, Detectron2 and this package

demo: $(READY) ## teacher, student alone and DiffKD student on the built-in data: a table and a report
	$(PY) tools/demo.py

demo-teacher: $(READY) ## train the demo's teacher anew
	$(PY) tools/demo.py --teacher

test: $(READY) ## run every test
	$(PY) -m pytest tests $(PARALLEL)

test-fast: $(READY) ## run the tests that are not marked slow
	$(PY) -m pytest tests -m 'not slow and not faults' $(PARALLEL)

test-faults: $(READY) ## the long tests of reliability: kills, leaks, fuzzing; about half an hour
	$(PY) -m pytest tests -m faults -s

lint: $(READY) ## check style and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(READY) ## check types; strict in meta_arch, distillers and diffusion
	$(PY) -m mypy

format: $(READY) ## sort imports and format in place
	$(PY) -m ruff check --select I --fix .
	$(PY) -m ruff format .

# Three steps, so that a change to one file does not repeat the others.
$(VENV)/.requirements: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "make setup: the tested versions need Python 3.11 or newer; name one: make PYTHON=python3.12")'
	$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -r requirements.txt
	touch $@

# A Detectron2 that is there and not made by our recipe stays as it is.
$(VENV)/.detectron2: $(VENV)/.requirements $(DETECTRON2)
	$(PY) -c 'import detectron2, sys; from importlib.metadata import version; sys.exit(version("detectron2").endswith("+pure"))' 2>/dev/null \
	    || $(PY) -m pip install ./packaging/detectron2
	touch $@

$(VENV)/.stamp: $(VENV)/.detectron2 setup.py pyproject.toml
	$(PY) -m pip install --no-deps -e .
	touch $@
