# Every target works alone in a fresh clone, for GNU make 3.81 and later, in a directory whose name may hold spaces.
# `make help` lists what there is.

PYTHON ?= python3

# What is run here must not depend on who calls it. Of the installers' own variables only those stay that say from where,
# through what and how patiently packages are fetched.
fetching := INDEX LINKS CERT TLS HOST PROXY CACHE TIMEOUT RETRIES KEYRING CONFIG OFFLINE
redirecting := $(foreach name,$(filter PIP_% UV_%,$(.VARIABLES)),\
	$(if $(strip $(foreach word,$(fetching),$(findstring $(word),$(name)))),,$(name)))
unexport VIRTUAL_ENV CONDA_PREFIX $(filter PYTHON%,$(.VARIABLES)) $(redirecting)
# Copies work on every filesystem, and nothing that happens in .venv reaches the cache of another project.
export UV_LINK_MODE := copy
export PIP_DISABLE_PIP_VERSION_CHECK := 1

uv := .venv/bin/uv
pip := .venv/bin/python -m pip
hashed := --require-hashes --only-binary :all:
editable := --quiet --no-deps --no-build-isolation --editable .
# Tests choose their settings themselves.
pytest := env $(patsubst %,-u %,$(filter RECKONER_%,$(.VARIABLES))) .venv/bin/pytest
# Many tests wait for a process, and others may use the processors meanwhile: three keep two of them busy. What a file shares is made once, and the
# files with the longest tests, which are the first ones, begin first.
side_by_side := --numprocesses 3 --dist loadfile --no-loadscope-reorder
section = @printf '\n== %s\n'

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint test-quick test-node test-client test-matrix test-redis7 test-postgres test-upgrade fuzz chaos soak bench-queue bench-kernels docs lock clean

help: ## list the targets
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  \1|\2/p' Makefile | awk -F '|' '{ printf "%-14s %s\n", $$1, $$2 }'
	@echo "PYTHON=python3.13 in front of make names the Python that .venv is made from."

demo: .venv/demo.installed ## recommendations from real data, start to finish, on this machine
	@.venv/bin/reckoner demo

test: lint test-node ## everything that must hold: format, lint, types, layers, all tests
	$(section) "Tests (pytest)"
	@$(pytest) $(side_by_side)

lint: .venv/dev.installed ## format, lint, types, layers
	$(section) "Format (ruff)"
	@.venv/bin/ruff format --check .
	$(section) "Lint (ruff)"
	@.venv/bin/ruff check .
	$(section) "Types (mypy)"
	@.venv/bin/mypy
	$(section) "Layers (import-linter)"
	@.venv/bin/lint-imports

test-quick: lint ## lint, types and the tests that start no server, in less than a minute
	$(section) "Quick tests (pytest)"
	@$(pytest) $(side_by_side) tests/unit

# The package that the example imports. There is no lock file for it: npm's name the registry's host.
node_package := redis@5.12.1
test-node: .venv/dev.installed ## the examples of docs/reading.md, where node and npm are there, and PHP's and Ruby's if those are
	$(section) "Reading in Node"
	@if ! command -v node >/dev/null || ! command -v npm >/dev/null; then \
		echo "NOT RUN: there is no node with npm here."; \
	else \
		test -f .venv/node/$(node_package).installed || \
			(mkdir -p .venv/node && cd .venv/node && npm install --no-save --no-package-lock --no-audit --no-fund \
				--ignore-scripts --loglevel error --prefix . --cache cache $(node_package) && touch $(node_package).installed) && \
		$(pytest) -m node tests/acceptance; \
	fi

test-client: .venv/dev.installed ## `pip install .` alone, on every supported Python that is here
	@$(pytest) -m client --capture=no tests/acceptance

test-matrix: .venv/dev.installed ## the full cross of chunk tasks, block sizes and workers
	@$(pytest) -m matrix

# What installs the project needs no server.
REDIS7_TESTS ?= tests/integration tests/acceptance --ignore tests/acceptance/test_makefile.py
test-redis7: .venv/dev.installed ## the tests with a server on Debian's Redis 7.0, which is fetched where it is not installed
	@server=$$(.venv/bin/python tests/debian.py redis-server usr/bin/redis-server) && "$$server" --version && \
	case $$("$$server" --version) in \
		*v=7.0.*) TESTS_REDIS_SERVER=$$server $(pytest) $(REDIS7_TESTS);; \
		*) echo "That is no Redis 7.0: run this on Debian 12." >&2; exit 1;; \
	esac

test-postgres: .venv/dev.installed ## the tests with a server from Debian's PostgreSQL, which is fetched where it is not installed
	@$(pytest) -m postgres

# The commit with which the current wire formats began: a change of a format moves it.
formats := d283991
test-upgrade: .venv/dev.installed ## workers and clients of another revision beside this one's (REV=HEAD~1; the one with which the formats began)
	$(section) "Beside revision $(or $(REV),$(formats))"
	@if git cat-file -e "$(or $(REV),$(formats))^{commit}" 2>/dev/null; then \
		UPGRADE_REVISION="$(or $(REV),$(formats))" $(pytest) -m upgrade tests/acceptance; \
	elif [ -n "$(REV)" ]; then \
		echo "There is no revision $(REV) here." >&2; exit 1; \
	else \
		echo "NOT RUN: the history is not here, or not that far back: this needs a clone with git, and a whole one."; \
	fi

fuzz: .venv/dev.installed ## made and mutated files, ids, settings, arguments and job bytes (SECONDS=600 SEED=...)
	@FUZZ_SECONDS=$(or $(SECONDS),600) FUZZ_SEED=$(or $(SEED),$$(date +%s)) $(pytest) --capture=no tests/acceptance/test_fuzz.py

chaos: .venv/dev.installed ## faults of all kinds under load, with a look at everything after every ten (FAULTS=300 SEED=...)
	@CHAOS_FAULTS=$(or $(FAULTS),300) CHAOS_SEED=$(or $(SEED),$$(date +%s)) $(pytest) --capture=no tests/acceptance/test_chaos.py

soak: .venv/dev.installed ## 20,000 jobs through one worker, and the memory that it has after 2,000 and at the end
	@$(pytest) -m soak --capture=no

bench-queue: .venv/dev.installed ## the engine beside stock arq and ArdiQ, in about ten minutes (ROUNDS=5 ONLY=no-op)
	@.venv/bin/python tests/benchmarks bench_queue $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY))

bench-kernels: .venv/dev.installed ## the kernels beside implicit, similaripy and sparse_dot_topn, in half an hour (ROUNDS=5 ONLY=build LIKE=ml-1m)
	@.venv/bin/python tests/benchmarks bench_kernels $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY)) $(if $(LIKE),--like $(LIKE))

docs: .venv/dev.installed ## write the tables of commands and settings in docs/ anew
	@PYTHONPATH=. .venv/bin/python tests/pages.py

# Compiled for every supported platform at once, developers' tools included; the locks of the demonstration and of the
# image are parts of that one. It ends with a look whether wheels alone suffice for each supported Python and platform.
# Indexes that somebody has besides the usual one have no say in it.
resolver := env -u UV_INDEX -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS $(uv) pip
compile := $(resolver) compile --no-config --quiet --universal --python-version 3.11 --only-binary :all: \
	--generate-hashes --no-header --no-annotate $(UPGRADE)
lock: ## write the lock files anew from pyproject.toml (UPGRADE=--upgrade takes the newest versions)
	@$(make_venv)
	@test -x $(uv) || $(pip) install --quiet $(hashed) --requirement installer.lock.txt
	@$(compile) --group installer --output-file installer.lock.txt
	@$(compile) --extra dev --group build --output-file dev.lock.txt pyproject.toml
	@$(compile) --extra demo --group build --constraint dev.lock.txt \
		--output-file demo.lock.txt pyproject.toml
	@$(compile) --extra worker --extra sql --constraint dev.lock.txt --output-file image.lock.txt pyproject.toml
	@for version in 3.11 3.12 3.13 3.14; do \
		for platform in x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin; do \
			printf 'Wheels for Python %s on %s: ' $$version $$platform; \
			$(resolver) install --no-config --quiet --dry-run --target .venv/nowhere $(hashed) --python-version $$version \
				--python-platform $$platform --requirement dev.lock.txt && echo yes || exit 1; \
		done; \
	done; rm -rf .venv/nowhere

clean: ## remove .venv and everything that the tools here have written
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A working .venv is kept, whoever made it; anything else in its place is made anew.
define make_venv
	supported='import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))'; \
	if .venv/bin/python -c "$$supported" 2>/dev/null && $(pip) --version >/dev/null 2>&1; then exit 0; fi; \
	if ! command -v "$(PYTHON)" >/dev/null; then \
		echo "There is no $(PYTHON) here: install Python 3.11 to 3.14, or name one with PYTHON=/path/to/python3." >&2; exit 1; \
	elif ! "$(PYTHON)" -c "$$supported"; then \
		echo "$$("$(PYTHON)" --version 2>&1) does not fit: install Python 3.11 to 3.14, or name one with PYTHON=python3.13." >&2; \
		exit 1; \
	elif ! told=$$("$(PYTHON)" -m venv --clear .venv 2>&1); then \
		rm -rf .venv; \
		if "$(PYTHON)" -c 'import ensurepip' 2>/dev/null; then echo "$$told" >&2; else \
			package=$$("$(PYTHON)" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
			echo "This Python lacks the package python3-venv: as root, run apt install $$package, then make again." >&2; \
		fi; \
		exit 1; \
	fi
endef

# The stamps. The two locks agree on every version, so what one has installed the other leaves as it is.
.venv/%.installed: %.lock.txt installer.lock.txt pyproject.toml .venv/bin/python
	$(section) "Install ($<)"
	@$(make_venv)
	@if $(pip) install --quiet $(hashed) --requirement installer.lock.txt && \
		$(uv) pip install --python .venv/bin/python $(hashed) --compile-bytecode --requirement $< && \
		$(uv) pip install --python .venv/bin/python $(editable); then :; else \
		echo "uv could not do it here; pip installs instead." && \
		$(pip) install $(hashed) --requirement $< && $(pip) install $(editable); \
	fi
	@touch $@ $(if $(filter dev,$*),.venv/demo.installed)

# Without a recipe that makes it: where it is missing, the stamps are old, and their recipe makes it.
.venv/bin/python: ;
