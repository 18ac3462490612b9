# `make` alone lists what there is. Needs Python >= 3.11 with venv, and make; no root.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo up playground pictures test test-all test-random lint format train bench lock clean

# The first interpreter that is new enough; `make PYTHON=/path/to/python3 …` names another.
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
ARGS ?=
# RapidOCR, to compare with: it brings a build of OpenCV that would overwrite ours.
BENCH := .venv-bench/.installed
RAPIDOCR := rapidocr-onnxruntime==1.4.4 onnxruntime==1.32.0 numpy==2.4.6 flatbuffers==25.12.19 \
	opencv-python-headless==5.0.0.93 packaging==26.3 pillow==13.0.0 protobuf==7.36.2 \
	pyclipper==1.4.0 PyYAML==6.0.3 shapely==2.2.0 six==1.17.0 tqdm==4.70.1

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## Read the bundled sample scans through the whole system and show the numbers
	@$(BIN)/python -m demo.run $(ARGS)

up: $(RUNTIME) ## Serve on this machine until Ctrl-C (make up ARGS="--port 9000")
	@$(BIN)/counterfoil up $(ARGS)

playground: $(DEV) ## Open a page to draw or upload digits and watch how they are read
	@$(BIN)/counterfoil playground $(ARGS)

pictures: $(DEV) ## Take the pictures of docs/guide from the running pages, with Chromium
	@$(BIN)/python -m demo.pictures $(ARGS)

# Files in the order of their names: those that take longest come first, and unit tests last.
# Where Python may not keep byte code, each of the hundreds of processes would compile all anew.
# Two processes of one thread each: on two cores, more threads would only wait for one another.
# A test process that dies ends the run: pytest-xdist 3.8 may wait for its replacement for ever.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test: $(DEV) ## Run the tests, with real servers brought by pip; a few minutes
	@$(PYTEST) -m "not slow" $(ARGS)

test-all: $(DEV) ## Run the tests, and training runs and long faults too
	@$(PYTEST) $(ARGS)

test-random: $(DEV) ## Run the tests with new random examples
	@$(PYTEST) -m "not slow" --hypothesis-profile=random $(ARGS)

lint: $(DEV) ## Check format, style, types, the direction of imports, the container file
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(if $(wildcard deploy/Dockerfile),$(BIN)/hadolint deploy/Dockerfile)

format: $(DEV) ## Bring the code into the form that lint wants
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

train: $(DEV) ## Train the glyph network (make train ARGS="--help")
	@$(BIN)/counterfoil train glyphs $(ARGS)

bench: $(DEV) $(BENCH) ## Measure speed, memory and accuracy, side by side with other systems
	@$(BIN)/python -m benchmarks $(ARGS)

lock: ## Pin the dependencies anew, with hashes (make lock ARGS=--upgrade for newer ones)
	@$(call need_python)
	@set -e; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	$(PYTHON) -m venv "$$work/uv"; \
	"$$work/uv/bin/python" -m pip --disable-pip-version-check --quiet install uv; \
	compile() { "$$work/uv/bin/uv" pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --no-annotate $(ARGS) "$$@"; }; \
	compile pyproject.toml --all-extras --output-file requirements-dev.lock; \
	sed -e '/^ *--hash/d' -e 's/ *\\$$//' requirements-dev.lock > "$$work/pins.txt"; \
	echo 'setuptools>=80' > "$$work/build.in"; \
	compile pyproject.toml "$$work/build.in" --constraint "$$work/pins.txt" \
		--output-file requirements.lock

clean: ## Remove what make made: the environment, caches, the demo's data
	@rm -rf $(VENV) .venv-bench build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache demo/data demo/results.csv
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The lock for running is a part of the one for development, pin by pin: one environment.
$(RUNTIME): requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing what Counterfoil runs on (once) …"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "Installing what tests and training need (once) …"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(RUNTIME)

# Without a network the benchmark runs all the same, and says what it lacks.
$(BENCH): | $(BIN)/python
	@echo "Installing RapidOCR to compare with (once) …"
	@{ $(BIN)/python -m venv .venv-bench && .venv-bench/bin/python -m pip --quiet \
		--disable-pip-version-check install --no-deps $(RAPIDOCR) && touch $@; } || \
		echo "RapidOCR could not be installed; the benchmark goes on without it." >&2

$(BIN)/python:
	@$(call need_python)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "Python cannot make an environment: install its venv (Debian: python3-venv)." >&2; \
		exit 1; }

define need_python
test -n "$(PYTHON)" || { \
	echo "Counterfoil needs Python 3.11 or newer; none was found." >&2; \
	echo "Install one, or name it: make PYTHON=/path/to/python3 …" >&2; exit 1; }
endef
