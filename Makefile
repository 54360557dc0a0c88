# Needs python3 and make; every target makes .venv by itself (install.py, which works without make too).
#   make smoke                              01 to 07 at toy size, then the report
#   make run PROFILE=small                  01 to 07, skipping what is up to date
#   make claims                             01 to 04 and 07 with five seeds: the ladder and its claims (about 90 minutes)
#   make teacher                            the teacher that comes with the kit, from nothing (about an hour)
#   make test PYTEST="-m slow"              the slow tests
#   make test PYTHON=python3.12             another interpreter
#   make run TORCH_INDEX=https://download.pytorch.org/whl/cpu    torch without CUDA
PYTHON ?= python3
PROFILE ?= small
VENV ?= .venv
PYTEST ?=
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := torch==2.13.0
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
STRIP := $(BIN)/nbstripout --extra-keys "metadata.papermill cell.metadata.papermill metadata.language_info.version"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run claims smoke teacher test lint lab bench report lock strip clean

help:
	@sed -n 's/^#   //p' Makefile; echo "targets: run claims smoke teacher test lint lab bench report lock strip clean"

# A space in the path of the checkout does no harm: all paths here are relative. One in VENV would.
$(if $(word 2,$(VENV)),$(error VENV=$(VENV): make cannot handle a space in this path; choose another folder))

$(STAMP): pyproject.toml requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "nbkit: there is no $(PYTHON); install Python 3.11 or later (Debian," \
		"Ubuntu: apt install python3 python3-venv), or name one with PYTHON=..., then run make again" >&2; exit 2; }
	@$(PYTHON) install.py --venv $(VENV) $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX))

run: $(STAMP)
	$(BIN)/nbkit run --profile $(PROFILE)

claims: $(STAMP)
	$(BIN)/nbkit claims --fresh-data --seeds 1-5 --stages 01,02,03,04,07 -p 'stages=["02","03","04"]' \
	    --jobs 2 --publish

smoke: $(STAMP)
	$(BIN)/nbkit run --profile smoke

# Makes the teacher that comes with the kit again, from nothing: about an hour on two cores.
teacher: $(STAMP)
	$(BIN)/nbkit run --profile teacher --only 01,02,03,04
	$(BIN)/python -m nbkit.refine.ship outputs/teacher/04_sft_overall nbkit/models/shipped

report: $(STAMP)
	$(BIN)/nbkit report --profile $(PROFILE)

lab: $(STAMP)
	$(BIN)/jupyter lab --notebook-dir notebooks

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/nbkit params --check
	$(if $(NOTEBOOKS),$(STRIP) --verify $(NOTEBOOKS))

# The one optional package of the tests that is built here, by a C compiler; without it its tests are left out.
GYM := $(shell sed -n 's/^gym = \["\(.*\)"\]/\1/p' pyproject.toml)
$(VENV)/.gym: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock "$(GYM)" \
		&& touch $@ || echo "nbkit: $(GYM) cannot be installed here; its tests are left out"

# Two processes of one thread each: on two cores that takes half the time, and more threads only get in their way.
test: lint $(VENV)/.gym
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

# Six more run alone: fg_map.py trains for an hour on the pools of a run, graders.py grades for a quarter of an
# hour and wants mirrors of HumanEval and MBPP, dpd.py measures memory and time of one loss for half an hour,
# eval_agreement.py wants lm-evaluation-harness and mirrors.
# rl/study.py and rl/speed.py want a checkpoint of 05 and take a minute an arm, or a few for the speed.
bench: $(STAMP)
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/corpus.py
	$(BIN)/python benchmarks/kill.py
	$(BIN)/python benchmarks/answers.py

strip: $(STAMP)
	$(if $(NOTEBOOKS),$(STRIP) $(NOTEBOOKS))

# From a clean environment. The CUDA packages come with the CUDA build of torch and must not reach a CPU build.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	build/lock/bin/python -m pip install --quiet ".[test,smollm2]"
	build/lock/bin/python -m pip freeze --exclude nbkit \
		| grep -vE '^(nvidia|cuda|triton|-e )' | sed -E 's/^(torch==[^+]*)\+.*/\1/; s/^torch @.*/$(TORCH)/' > requirements.lock.part
	mv requirements.lock.part requirements.lock
	rm -rf build/lock

clean:
	rm -rf $(VENV) build .pytest_cache .ruff_cache .hypothesis *.egg-info
