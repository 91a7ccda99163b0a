# Two commands: `make run` (train, measure, show) and `make test`. Both work from a bare Python 3.11+.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test test-full check setup setup-dev scale horovod test-horovod constraints reference clean

run: setup  ## walk the whole curriculum with the tiny preset
	@$(BIN)/vermeil run tiny

test: setup-dev check  ## the suite that CI runs
	@$(BIN)/pytest -m "not full"

test-full: setup-dev  ## everything, the long ones too
	@$(BIN)/pytest

check: setup-dev  ## format, lint, types, layers, spelling
	@$(BIN)/ruff format --check -q . && $(BIN)/ruff check -q .
	@$(BIN)/lint-imports --no-logo > .venv/lint-imports.log || (cat .venv/lint-imports.log; false)
	@$(BIN)/codespell
	@$(BIN)/pyright > .venv/pyright.log || (cat .venv/pyright.log; false)

setup: .venv/ready  ## make .venv ready
setup-dev: .venv/ready-dev

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Vermeil needs Python 3.11 or newer: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (some minutes the first time; torch is large)"
	@$(BIN)/pip install -q -c constraints.txt -e ".[serve]"
	@touch $@

.venv/ready-dev: .venv/scale
	@echo "installing the tools for tests"
	@$(BIN)/pip install -q -c constraints.txt -e ".[dev]"
	@touch $@

scale: .venv/scale  ## DeepSpeed, torchao, Slurm's and Kubernetes' tools

.venv/scale: .venv/ready
	@$(BIN)/pip install -q -c constraints.txt -e ".[scale]"
	@$(BIN)/pip install -q -c constraints.txt --no-build-isolation deepspeed  # its build asks torch
	@touch $@

horovod: .venv/horovod  ## build Horovod's last release from its source, for CPUs (six minutes)

.venv/horovod: .venv/ready phase3_scaling/distributed/build_horovod.sh
	@phase3_scaling/distributed/build_horovod.sh $(abspath $(BIN)/python)
	@touch $@

test-horovod: setup-dev horovod  ## its real two-process test
	@$(BIN)/pytest tests/phase3_scaling/distributed/test_horovod.py

constraints:  ## write constraints.txt anew from the newest versions that work together
	@$(PYTHON) -m venv .venv/fresh
	@.venv/fresh/bin/pip install -q -e ".[dev]"
	@.venv/fresh/bin/pip freeze --exclude-editable | grep -v -e '^nvidia-' -e '^cuda-' -e ' @ ' > constraints.txt
	@rm -r .venv/fresh

reference: setup  ## record the expected loss of a preset from this home's finished runs
	@$(BIN)/vermeil reference $(STEP) $(PRESET)

clean:
	rm -rf .venv build
