# Every target works alone in a fresh clone, with GNU make 3.81 or later. The directory's name may contain spaces.

PYTHON ?= python3

# Do not depend on the caller's environment. Keep only the installers' variables for indexes, proxies and time-outs.
fetching := INDEX LINKS CERT TLS HOST PROXY CACHE TIMEOUT RETRIES KEYRING CONFIG OFFLINE
redirecting := $(foreach name,$(filter PIP_% UV_%,$(.VARIABLES)),\
	$(if $(strip $(foreach word,$(fetching),$(findstring $(word),$(name)))),,$(name)))
unexport VIRTUAL_ENV CONDA_PREFIX $(filter PYTHON%,$(.VARIABLES)) $(redirecting)
# Copies work on every filesystem and keep changes in .venv out of the shared cache.
export UV_LINK_MODE := copy
export PIP_DISABLE_PIP_VERSION_CHECK := 1

uv := .venv/bin/uv
pip := .venv/bin/python -m pip
hashed := --require-hashes --only-binary :all:
editable := --quiet --no-deps --no-build-isolation --editable .
# Tests must not see the caller's settings.
pytest := env $(patsubst %,-u %,$(filter RECKONER_%,$(.VARIABLES))) .venv/bin/pytest
# Three test processes keep two cores busy, since many tests wait. The slowest files are the first ones.
side_by_side := --numprocesses 3 --dist loadfile --no-loadscope-reorder
# The files with such markers: to import all others takes longer than some tests.
marked = -m '$(1)' $$(grep -rlE --include='test_*.py' 'mark\.($(subst $(space)or$(space),|,$(1)))' tests)
empty :=
space := $(empty) $(empty)
section = @printf '\n== %s\n'

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint test-quick test-node test-s3 test-client test-redis-py test-matrix test-redis7 test-install test-postgres test-alerts test-page test-http test-outside test-upgrade fuzz chaos soak bench-night bench-queue bench-fresh bench-kernels bench-import bench-http sync docs lock clean

help: ## list the targets
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  \1|\2/p' Makefile | awk -F '|' '{ printf "%-14s %s\n", $$1, $$2 }'
	@echo "PYTHON=python3.13 make TARGET creates .venv from that Python."

demo: .venv/demo.installed ## recommendations from real data, start to finish
	@.venv/bin/reckoner demo

test: lint test-node ## lint and all tests of a change, in about ten minutes
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

test-quick: lint ## lint and the unit tests, in less than a minute
	$(section) "Quick tests (pytest)"
	@$(pytest) $(side_by_side) tests/unit

# The example's package. It has no lock file: npm's contain the registry's host.
node_package := redis@5.12.1
test-node: .venv/dev.installed ## the examples of docs/reading.md, for each installed language
	$(section) "Reading in Node"
	@if ! command -v node >/dev/null || ! command -v npm >/dev/null; then \
		echo "NOT RUN: node and npm are not installed."; \
	else \
		test -f .venv/node/$(node_package).installed || \
			(mkdir -p .venv/node && cd .venv/node && npm install --no-save --no-package-lock --no-audit --no-fund \
				--ignore-scripts --loglevel error --prefix . --cache cache $(node_package) && touch $(node_package).installed) && \
		$(pytest) -m node tests/acceptance; \
	fi

test-client: .venv/dev.installed ## `pip install .` alone, on every installed Python
	@$(pytest) -m client --capture=no tests/acceptance

# redis-py 6 drops the server's words from the errors of pipelines, so that not all troubles are recognized.
REDIS_PY ?= 6 7 8
test-redis-py: .venv/dev.installed ## the tests of client and connections with other releases of redis-py (REDIS_PY=7)
	@for release in $(REDIS_PY); do \
		folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
		$(uv) pip install --quiet --python .venv/bin/python --no-deps --target "$$folder" "redis==$$release.*" && \
		PYTHONPATH=$$folder .venv/bin/python -c 'import redis; print("\n== redis-py", redis.__version__)' && \
		PYTHONPATH=$$folder $(pytest) tests/integration/producer/client tests/integration/shared/redis \
			--ignore tests/integration/shared/redis/test_embedded.py \
			$$(test "$$release" != 6 || echo --ignore tests/integration/shared/redis/test_troubles.py) && \
		rm -rf "$$folder" || exit 1; \
	done

test-matrix: .venv/dev.installed ## the full cross of chunk tasks, block sizes and workers
	@$(pytest) -m matrix

# The Makefile's tests need no server.
REDIS7_TESTS ?= tests/integration tests/acceptance --ignore tests/acceptance/test_makefile.py
test-redis7: .venv/dev.installed ## the tests with a server on Debian's Redis 7.0, fetched if not installed
	@server=$$(.venv/bin/python tests/debian.py redis-server usr/bin/redis-server) && "$$server" --version && \
	case $$("$$server" --version) in \
		*v=7.0.*) TESTS_REDIS_SERVER=$$server $(pytest) $(REDIS7_TESTS);; \
		*) echo "This is not Redis 7.0. Run this on Debian 12." >&2; exit 1;; \
	esac

test-install: .venv/dev.installed ## the tests of what installs, builds and measures
	@$(pytest) $(side_by_side) $(call marked,install)

test-postgres: .venv/dev.installed ## the tests with Debian's PostgreSQL, fetched if not installed
	@$(pytest) $(side_by_side) $(call marked,postgres)

test-s3: .venv/s3.installed ## the tests of a store in a bucket, on moto's server, fetched if not installed
	@$(pytest) $(call marked,s3)

test-http: .venv/dev.installed ## schemathesis against the running HTTP API, with what its description says (SECONDS=30 SEED=...)
	@CONTRACT_SECONDS=$(or $(SECONDS),30) CONTRACT_SEED=$(or $(SEED),$$(date +%s)) $(pytest) $(call marked,contract)

test-outside: .venv/dev.installed ## test-install and test-postgres side by side, and what takes long
	@$(pytest) $(side_by_side) $(call marked,postgres or install or long)

# The schemas of KEDA's documents.
keda_package := @kubernetes-models/keda@2.0.0
test-alerts: .venv/dev.installed ## alert rules, dashboard and KEDA's example, with Debian's promtool, fetched if not installed
	@if ! command -v node >/dev/null || ! command -v npm >/dev/null; then \
		echo "NOT RUN: KEDA's schema, as node and npm are not installed." && \
		$(pytest) $(call marked,alerts) -k 'not schema'; \
	else \
		mkdir -p .venv/node-keda && (cd .venv/node-keda && test -d node_modules || \
			npm install --no-save --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel error \
				--prefix . --cache cache $(keda_package)) && \
		$(pytest) $(call marked,alerts); \
	fi

# In no lock file: Playwright is 50 MB, and npm's lock contains the registry's host.
playwright := playwright==1.65.2
axe_package := axe-core@4.14.1
test-page: .venv/dev.installed ## the page in Debian's Chromium, with axe-core (PAGE_SHOTS=FOLDER leaves pictures)
	@mkdir -p .venv/page && cd .venv/page && (test -d python || \
			../bin/uv pip install --quiet --python ../bin/python --target python $(playwright)) && \
		(test -d node_modules || npm install --no-save --no-package-lock --no-audit --no-fund --ignore-scripts \
			--loglevel error --prefix . --cache cache $(axe_package))
	@PYTHONPATH=.venv/page/python $(pytest) $(call marked,page)

# The first commit with the current wire formats. Update it when a format changes.
formats := f5c3c96
test-upgrade: .venv/dev.installed ## workers and clients of another revision beside this one's (REV=HEAD~1)
	$(section) "Beside revision $(or $(REV),$(formats))"
	@if git cat-file -e "$(or $(REV),$(formats))^{commit}" 2>/dev/null; then \
		UPGRADE_REVISION="$(or $(REV),$(formats))" $(pytest) -m upgrade tests/acceptance; \
	elif [ -n "$(REV)" ]; then \
		echo "Revision $(REV) does not exist." >&2; exit 1; \
	else \
		echo "NOT RUN: the history lacks that revision. Use a full git clone."; \
	fi

fuzz: .venv/dev.installed ## generated and mutated files, ids, settings, arguments and job bytes (SECONDS=600 SEED=...)
	@FUZZ_SECONDS=$(or $(SECONDS),600) FUZZ_SEED=$(or $(SEED),$$(date +%s)) $(pytest) --capture=no tests/acceptance/test_fuzz.py

chaos: .venv/dev.installed ## faults of all kinds under load, with a full check after every ten (FAULTS=300 SEED=...)
	@CHAOS_FAULTS=$(or $(FAULTS),300) CHAOS_SEED=$(or $(SEED),$$(date +%s)) $(pytest) --capture=no tests/acceptance/test_chaos.py

soak: .venv/dev.installed ## 20,000 jobs through one worker, and its memory after 2,000 and at the end
	@$(pytest) -m soak --capture=no

bench-night: .venv/dev.installed ## all users' lists and the fit on whole workers, next to other projects, in some 40 minutes (WORKERS=1,2,4,8,15 ROUNDS=3 ONLY=everybody,click LIKE=ml-1m)
	@.venv/bin/python tests/benchmarks bench_night $(if $(WORKERS),--workers $(WORKERS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY)) $(if $(LIKE),--like $(LIKE))

bench-queue: .venv/dev.installed ## the engine next to stock arq and ArdiQ, in about ten minutes (ROUNDS=5 ONLY=no-op)
	@.venv/bin/python tests/benchmarks bench_queue $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY))

bench-fresh: .venv/dev.installed ## events, fresh lists and reads next to bare XADDs, clicks and MGETs, in some ten minutes (ROUNDS=5 ONLY=reads)
	@.venv/bin/python tests/benchmarks bench_fresh $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY))

bench-kernels: .venv/dev.installed ## the kernels next to implicit, similaripy and sparse_dot_topn, in half an hour (ROUNDS=5 ONLY=build LIKE=ml-1m)
	@.venv/bin/python tests/benchmarks bench_kernels $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY)) $(if $(LIKE),--like $(LIKE))

bench-import: .venv/dev.installed ## the import of 20 million rows next to DuckDB, in some five minutes (ROUNDS=3 ONLY=hundred)
	@.venv/bin/python tests/benchmarks bench_import $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY)) $(if $(LIKE),--like $(LIKE))

bench-http: .venv/dev.installed ## reads over HTTP next to a bare Starlette handler, under Debian's wrk, in some five minutes (ROUNDS=5 ONLY=hits)
	@.venv/bin/python tests/benchmarks bench_http $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY))

sync: .venv/dev.installed ## regenerate the synchronous client from the asynchronous one
	@PYTHONPATH=. .venv/bin/python tests/sync_client.py

docs: .venv/dev.installed ## regenerate the tables of commands, settings, metrics and the night in the pages
	@PYTHONPATH=. .venv/bin/python tests/pages.py

# dev.lock.txt covers all platforms; the demonstration's and the image's locks are subsets. The last step checks that
# wheels exist for each supported Python and platform. Extra indexes of the caller are ignored.
resolver := env -u UV_INDEX -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS $(uv) pip
compile := $(resolver) compile --no-config --quiet --universal --python-version 3.11 --only-binary :all: \
	--generate-hashes --no-header --no-annotate $(UPGRADE)
lock: ## regenerate the lock files from pyproject.toml (UPGRADE=--upgrade takes the newest versions)
	@$(make_venv)
	@test -x $(uv) || $(pip) install --quiet $(hashed) --requirement installer.lock.txt
	@$(compile) --group installer --output-file installer.lock.txt
	@$(compile) --extra dev --group build --output-file dev.lock.txt pyproject.toml
	@$(compile) --extra demo --group build --constraint dev.lock.txt \
		--output-file demo.lock.txt pyproject.toml
	@$(compile) --extra worker --extra sql --extra s3 --extra http --constraint dev.lock.txt --output-file image.lock.txt pyproject.toml
	@for version in 3.11 3.12 3.13 3.14; do \
		for platform in x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin; do \
			printf 'Wheels for Python %s on %s: ' $$version $$platform; \
			$(resolver) install --no-config --quiet --dry-run --target .venv/nowhere $(hashed) --python-version $$version \
				--python-platform $$platform --requirement dev.lock.txt && echo yes || exit 1; \
		done; \
	done; rm -rf .venv/nowhere

clean: ## remove .venv and all files of the tools
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Keep a working .venv; recreate any other.
define make_venv
	supported='import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))'; \
	if .venv/bin/python -c "$$supported" 2>/dev/null && $(pip) --version >/dev/null 2>&1; then exit 0; fi; \
	if ! command -v "$(PYTHON)" >/dev/null; then \
		echo "$(PYTHON) was not found. Install Python 3.11 to 3.14, or set PYTHON=/path/to/python3." >&2; exit 1; \
	elif ! "$(PYTHON)" -c "$$supported"; then \
		echo "$$("$(PYTHON)" --version 2>&1) is not supported. Install Python 3.11 to 3.14, or set PYTHON=python3.13." >&2; \
		exit 1; \
	elif ! output=$$("$(PYTHON)" -m venv --clear .venv 2>&1); then \
		rm -rf .venv; \
		if "$(PYTHON)" -c 'import ensurepip' 2>/dev/null; then echo "$$output" >&2; else \
			package=$$("$(PYTHON)" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
			echo "This Python lacks the package python3-venv. As root, run apt install $$package, then run make again." >&2; \
		fi; \
		exit 1; \
	fi
endef

# A server of S3's protocol. In no lock file: its botocore would hold the image's python-dateutil at an old release.
s3_packages := 'moto[s3]==5.2.5' flask==3.1.3 flask-cors==6.0.5
.venv/s3.installed: .venv/dev.installed
	@$(uv) pip install --quiet --python .venv/bin/python --target .venv/s3 $(s3_packages)
	@touch $@

# The stamps. The locks agree on every version, so each keeps the other's packages.
.venv/%.installed: %.lock.txt installer.lock.txt pyproject.toml .venv/bin/python
	$(section) "Install ($<)"
	@$(make_venv)
	@if $(pip) install --quiet $(hashed) --requirement installer.lock.txt && \
		$(uv) pip install --python .venv/bin/python $(hashed) --compile-bytecode --requirement $< && \
		$(uv) pip install --python .venv/bin/python $(editable); then :; else \
		echo "uv failed; pip installs instead." && \
		$(pip) install $(hashed) --requirement $< && $(pip) install $(editable); \
	fi
	@touch $@ $(if $(filter dev,$*),.venv/demo.installed)

# No recipe: if it is missing, the stamps are outdated, and their recipe creates it.
.venv/bin/python: ;
