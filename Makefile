# `make` lists the targets. Each makes .venv first, when it is missing or older than its lock.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
# For an NVIDIA GPU: export LOCK=requirements-gpu.txt
LOCK ?= requirements.txt
READY := $(VENV)/.$(LOCK).ready
# The newest Python that TensorFlow supports of those that are here.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := true

.PHONY: help
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 14

.PHONY: setup
setup: $(READY)  ## make .venv from the locked requirements

# Without --no-compile pip compiles one file at a time; the imports are heavy, so compile them now.
$(READY): $(LOCK)
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found; name one: make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
		--no-deps --require-hashes --requirement $(LOCK)
	@# Packages carry a few test files for other Pythons, which do not compile.
	$(VENV)/bin/python -m compileall -q -j 0 $(VENV)/lib > /dev/null || true
	@# MLflow reads its telemetry switch from the environment alone: every program of this
	@# environment gets it, a bare `mlflow ui` too.
	@echo 'import os; os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")' \
		> $$($(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/no_telemetry.pth
	@touch $@

.PHONY: repro
repro: $(READY)  ## run the pipeline: what is out of date, and no more
	@# DVC writes dvc.lock in place; killed meanwhile it leaves it empty. Its run-cache knows the rest.
	@test -s dvc.lock || rm -f dvc.lock
	dvc repro

.PHONY: verify
verify: $(READY)  ## run it again in a clean folder, compare every file with dvc.lock
	python -m pipeline.verify

.PHONY: demo
demo: $(READY)  ## run it on 5,000 digits that are installed already, beside your workspace
	dvc exp run --temp --name demo --force -S data=mnist_sample
	@echo "Recorded as an experiment and as a run: dvc exp show, make ui"

.PHONY: test
test: lint  ## every check: lint, types, unit and end-to-end tests
	python -m pytest -m 'not long and not cluster'

.PHONY: test-fast
test-fast: $(READY)  ## the inner loop: tests that take no training
	python -m pytest -m 'not slow and not long and not cluster'

.PHONY: test-long
test-long: $(READY)  ## hundreds of kills at random moments, KILLS=40 a stage; every configuration twice
	python -m pytest -m long -s

# In an environment of its own: yours stays as it is.
.PHONY: test-cluster
test-cluster:  ## three hosts in network namespaces, PostgreSQL, Dask and Ray: Debian, as root
	@test $$(id -u) = 0 || { echo "error: only root can make network namespaces"; exit 1; }
	@{ ls -d /usr/lib/postgresql/*/bin && command -v ip; } > /dev/null 2>&1 \
		|| { apt-get update -q && apt-get install -qy --no-install-recommends postgresql iproute2; }
	$(MAKE) VENV=$(VENV)-cluster LOCK=requirements-cluster.txt setup
	$(VENV)-cluster/bin/python -m pytest -m cluster

.PHONY: lint
lint: $(READY)  ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

.PHONY: ui
ui: $(READY)  ## browse the runs at http://127.0.0.1:5000
	mlflow ui

.PHONY: track
track: $(READY)  ## complete the run of the workspace, where the MLflow store was away
	python -m pipeline.track

.PHONY: predict
predict: $(READY)  ## read digits from images: make predict FILES="a.png b.png" [MODEL=address]
	python -m pipeline.predict $(FILES) $(if $(MODEL),--model $(MODEL))

.PHONY: lock
lock: $(READY)  ## compile the locks anew from pyproject.toml
	$(VENV)/bin/python -m pip install --quiet uv
	for lock in ".txt cpu" "-gpu.txt gpu" "-cluster.txt cpu dask ray postgres"; do \
		set -- $$lock && file=requirements$$1 && shift && \
		uv pip compile pyproject.toml --universal --python-version 3.11 --upgrade \
			$${@/#/--extra } --extra dev --generate-hashes --no-emit-index-url --quiet \
			--custom-compile-command "make lock" --output-file $$file || exit; \
	done

.PHONY: clean
clean:  ## remove what the pipeline made; keep the MLflow store, DVC's cache and .venv
	rm -rf composed.yaml data models reports dvc_plots build .mypy_cache .pytest_cache .ruff_cache .hypothesis
