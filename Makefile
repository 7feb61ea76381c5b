# `make` lists the targets. Each first makes .venv if it is missing or older than its lock.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
# For an NVIDIA GPU: export LOCK=requirements-gpu.txt
LOCK ?= requirements.txt
READY := $(VENV)/.$(LOCK).ready
# The first installed Python of this list that TensorFlow supports.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
FUZZ_SECONDS ?= 60
# `make ui` listens on 5000, `make serve` and `make draw` on 8000.
SERVE_PORT := $(or $(PORT),8000)
PORT ?= 5000
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := true

# Mistakes are one line, before anything is installed. `make tests` must not do nothing because there
# is a folder of this name.
TARGETS := $(shell sed -nE 's/^([a-z-]+):.*/\1/p' $(MAKEFILE_LIST))
UNKNOWN := $(filter-out $(TARGETS) $(READY),$(MAKECMDGOALS))
$(if $(UNKNOWN),$(error no target '$(UNKNOWN)'; the targets are: $(TARGETS)))
# Whether a target was asked for.
asked = $(filter $(1),$(MAKECMDGOALS))
# Whether a value is a whole number.
number = $(shell [[ '$(1)' =~ ^[0-9]+$$ ]] && echo yes)
# Make .venv again if its folder has moved or its Python has gone.
$(shell test ! -e $(READY) || test -x "$$(sed -n '1s/^#!//p' $(VENV)/bin/dvc 2> /dev/null)" || rm $(READY))

.PHONY: help
help:  ## list the targets
	@sed -nE 's/^##@ (.*)/\n\1/p; s/^([a-z-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

##@ Set-up

.PHONY: setup
setup: $(READY)  ## make .venv from the locked requirements

$(READY): $(LOCK)
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found; name one: make PYTHON=..."; exit 1; }
	$(PYTHON) -I pipeline/setup.py $(VENV) $(LOCK)

##@ Pipeline

.PHONY: repro
repro: $(READY)  ## run the pipeline: only the stages that are out of date
	@python -m pipeline.repair
	dvc repro
	@echo
	@echo "All results on one page: reports/report.html. Charts: dvc plots show"
	@echo "Browse the runs: make ui. Read your own digits: make predict FILES=digit.png"
	@echo "Next: change params.yaml, then make repro and make compare"

.PHONY: verify
verify: $(READY)  ## run all stages again in a clean folder, and compare every file with dvc.lock
	python -m pipeline.verify

$(if $(call asked,reproduce),$(if $(RUN),,$(error name a run: make reproduce RUN=champion; its id, name or alias)))
.PHONY: reproduce
reproduce: $(READY)  ## run the training of a run again in a clean folder, and compare: make reproduce RUN=champion
	@python -m pipeline.reproduce "$(RUN)"

.PHONY: reset
reset: $(READY)  ## bring the workspace back to the last commit, also after a kill: make reset [TO=HEAD~1]
	@python -m pipeline.reset $(if $(TO),"$(TO)")

.PHONY: demo
demo: $(READY)  ## run it on 5,000 installed digits, in a temporary copy of the workspace
	dvc exp run --temp --name demo --force -S data=mnist_sample
	@echo "Recorded as an experiment and as a run: dvc exp show, make ui"

##@ Quality

.PHONY: test
test: lint  ## every check: lint, types, unit and end-to-end tests
	@# Three files at a time on two cores, because the tests often wait.
	python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m 'not long and not cluster and not browser'

.PHONY: test-fast
test-fast: $(READY)  ## the quick unit tests, within a minute
	python -m pytest tests/unit -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow and not long and not cluster and not browser'

.PHONY: coverage
coverage: $(READY)  ## the lines that `make test` runs within its own process; it takes twice as long
	python -m pytest -n 2 --dist loadfile -m 'not long and not cluster and not browser' --cov=pipeline --cov-report=term:skip-covered

.PHONY: test-long
test-long: $(READY)  ## hours: kill at random moments (KILLS=40 per stage), train every configuration twice, type the README, and the slowest system tests
	python -m pytest -m long -s

.PHONY: test-browser
test-browser: $(READY)  ## the page to draw on, in a real Chromium (Debian, as root)
	@{ command -v chromium && command -v chromedriver; } > /dev/null \
		|| { apt-get update -q && apt-get install -qy --no-install-recommends chromium chromium-driver; }
	python -m pytest -m browser tests/system

# This uses a separate environment, so .venv stays as it is.
$(if $(call asked,test-cluster),$(if $(filter 0,$(shell id -u)),,$(error only root can make network \
	namespaces: sudo make test-cluster)))
.PHONY: test-cluster
test-cluster:  ## sweeps on three hosts in network namespaces: PostgreSQL, Dask, Ray (Debian, as root)
	@{ ls -d /usr/lib/postgresql/*/bin && command -v ip; } > /dev/null 2>&1 \
		|| { apt-get update -q && apt-get install -qy --no-install-recommends postgresql iproute2; }
	$(MAKE) VENV=$(VENV)-cluster LOCK=requirements-cluster.txt setup
	@# Three tests at a time, because they often wait. Each has its own hosts.
	$(VENV)-cluster/bin/python -m pytest -m cluster -n 3 tests/system/cluster

.PHONY: lint
lint: $(READY)  ## ruff, mypy, the order of the packages, the Dockerfile
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	@! command -v hadolint > /dev/null || hadolint Dockerfile

# Needs Linux on x86-64: atheris has no other wheels. Inputs that it found are kept as tests.
$(if $(call asked,fuzz),$(if $(call number,$(FUZZ_SECONDS)),,$(error FUZZ_SECONDS must be a whole number, \
	not '$(FUZZ_SECONDS)': make fuzz FUZZ_SECONDS=60)))
.PHONY: fuzz
fuzz: $(READY)  ## search for input that crashes a reader: make fuzz [FUZZ_SECONDS=60]
	@for reader in idx image config; do \
		echo "$$reader: $(FUZZ_SECONDS) s"; \
		python -W ignore -m tests.helpers.fuzz $$reader -max_total_time=$(FUZZ_SECONDS) || { \
			echo "error: $$reader failed; again: python -m tests.helpers.fuzz $$reader" \
				"$$(ls -t .fuzz/$$reader/*-* | head -n 1)"; \
			exit 1; }; \
	done

##@ Sweep

.PHONY: sweep
sweep: $(READY)  ## run a sweep: make sweep [SWEEP=depth] [TRIALS=30] [WORKERS=2] [ARGS="train.epochs=3 ..."]
	python -m pipeline.sweep $(if $(SWEEP),sweep=$(SWEEP)) $(if $(TRIALS),sweep.trials=$(TRIALS)) \
		$(if $(WORKERS),sweep.workers=$(WORKERS)) $(ARGS)

.PHONY: learn
learn: $(READY)  ## run the lessons of docs/learn and write their results: make learn [LESSON=depth]
	@python -m pipeline.learn $(LESSON)

STUDIES = $(patsubst .sweeps/%/journal,%,$(wildcard .sweeps/*/journal))
$(foreach verb,promote replicate,$(if $(call asked,$(verb)),$(if $(STUDY),,$(error name a study: make $(verb) STUDY=depth; \
	$(if $(STUDIES),there are: $(STUDIES),there is none yet: make sweep)))))
.PHONY: promote
promote: $(READY)  ## make a preset from a sweep's best trial: make promote STUDY=depth [TRIAL=7]
	python -m pipeline.promote $(STUDY) $(if $(TRIAL),--trial $(TRIAL)) $(ARGS)

.PHONY: replicate
replicate: $(READY)  ## train a sweep's best trials with new seeds: make replicate STUDY=depth [BEST=3] [SEEDS=5]
	python -m pipeline.replicate $(STUDY) $(if $(BEST),--best $(BEST)) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

##@ Browse and reload

$(if $(call asked,ui),$(if $(call number,$(PORT)),,$(error PORT must be a number, not '$(PORT)': make ui \
	PORT=5001)))
.PHONY: ui
ui: $(READY)  ## browse the runs at the address that it prints: make ui [PORT=5001]
	@python -m pipeline.ui --port $(PORT)

.PHONY: compare
compare: $(READY)  ## results side by side: make compare [NAMES="workspace HEAD~1 my-experiment"]
	@python -m pipeline.compare $(NAMES)

.PHONY: site
site: $(READY)  ## write build/site/, a leaderboard with the report of each run, to publish
	@python -m pipeline.publish

.PHONY: track
track: $(READY)  ## complete the workspace's run after the MLflow store was unavailable
	python -m pipeline.track

$(if $(call asked,predict),$(if $(FILES),,$(error name the image files: make predict FILES="a.png b.png")))
.PHONY: predict
predict: $(READY)  ## read digits: make predict FILES="a.png 'with space.png'" [MODEL=URI] [ARGS="--explain steps"]
	python -m pipeline.predict $(FILES) $(if $(MODEL),--model "$(MODEL)") $(ARGS)

# MODEL may name several; the first one answers.
$(if $(call asked,serve draw),$(if $(call number,$(SERVE_PORT)),,$(error PORT must be a number, not \
	'$(PORT)': make serve PORT=8001)))
.PHONY: serve
serve: $(READY)  ## serve the champion over HTTP: make serve [PORT=8001] [MODEL="URI ..."]
	@python -m pipeline.serve --port $(SERVE_PORT) --model $(or $(MODEL),models:/mnist-classifier@champion)

.PHONY: draw
draw: $(READY)  ## draw digits in the browser, read by the workspace's model: make draw [MODEL="URI URI"]
	@python -m pipeline.serve --port $(SERVE_PORT) $(if $(MODEL),--model $(MODEL))

##@ Benchmarks

# They take minutes. Each trains or runs the things that it compares in turn, and prints a table.
.PHONY: bench
bench: bench-fit bench-scale bench-pipeline bench-sweep bench-samplers bench-fashion  ## all of these but bench-tuners

.PHONY: bench-fit
bench-fit: $(READY)  ## time to 99 %, also of the examples of Keras and PyTorch (if pip has installed torch): docs/benchmarks/fit.md
	python -m benchmarks.fit

.PHONY: bench-scale
bench-scale: $(READY)  ## prepare, train and evaluate with 1, 10 and 100 times the images: docs/benchmarks/scale.md
	python -m benchmarks.scale

.PHONY: bench-pipeline
bench-pipeline: $(READY)  ## a dvc repro with nothing to do, one in a new clone, what tracking costs: docs/benchmarks/pipeline.md
	python -m benchmarks.repro

.PHONY: bench-fashion
bench-fashion: $(READY)  ## the presets on Fashion-MNIST: docs/benchmarks/fashion_mnist.md
	python -m benchmarks.fashion

.PHONY: bench-samplers
bench-samplers: $(READY)  ## samplers on a space with conditions: docs/benchmarks/samplers.md
	python -m benchmarks.samplers

.PHONY: bench-sweep
bench-sweep: $(READY)  ## a sweep, Hydra's multirun and DVC's queue: docs/benchmarks/sweep.md
	python -m benchmarks.rivals

.PHONY: bench-tuners
bench-tuners: $(READY)  ## a sweep, Ray Tune and KerasTuner, which pip must install first: docs/benchmarks/tuners.md
	python -m benchmarks.tuners

##@ Maintenance

.PHONY: lock
lock: $(READY)  ## update the locks from pyproject.toml
	$(VENV)/bin/python -m pip install --quiet uv
	for lock in ".txt cpu" "-gpu.txt gpu" "-cluster.txt cpu dask ray postgres"; do \
		set -- $$lock && file=requirements$$1 && shift && \
		uv pip compile pyproject.toml --universal --python-version 3.11 --upgrade \
			$${@/#/--extra } --extra dev --generate-hashes --no-strip-extras --no-emit-index-url --quiet \
			--custom-compile-command "make lock" --output-file $$file || exit; \
	done

# In a terminal it asks before it removes anything. YES=no only lists, as DRY_RUN=1 does.
.PHONY: gc
gc: $(READY)  ## list, then remove: what was deleted in MLflow, old checkpoints, unused data of sweeps: make gc [DRY_RUN=1 | YES=1]
	@python -m pipeline.gc $(if $(filter 1 y yes true,$(YES)),--yes,$(if $(YES)$(filter-out 0 n no false,$(DRY_RUN)),--dry-run))

.PHONY: clean
clean:  ## remove the results and what tools left; keep runs, sweeps, checkpoints, DVC's cache and .venv
	git clean -qfdX models reports  # keeps the metrics, which are in git
	rm -rf composed.yaml data exports dvc_plots build .coverage .mypy_cache .import_linter_cache .pytest_cache .ruff_cache .hypothesis .fuzz
