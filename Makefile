# Legwork's commands. A fresh clone needs nothing but Python 3.11 or newer: `make demo`, `make test`.
.DEFAULT_GOAL := help
.PHONY: help demo run test coverage servers check lint release format docs lock bench mutants cluster debian chaos mail-chaos soak clean
.DELETE_ON_ERROR:

python := .venv/bin/python
READY := .venv/ready
# Two for each of two cores: while one test waits for processes, another computes.
PYTEST := -n 4 --max-worker-restart 0 --dist loadgroup
# The environment of every test run. Bytecode of our modules is kept for the hundreds of processes that tests start:
# without it each takes 0.2 s longer.
test_env := PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=
# Without it the settings are those of production, which stop the start if a secret is missing.
development := DJANGO_SETTINGS_MODULE=settings.development
OURS := $(wildcard manage.py routers.py settings project rest jobs mail monitor demo benchmarks examples)
OURS += clients/python/legwork_client
# For the oldest Python that is supported: Debian 12 has 3.11.2.
OLDEST := --python-version 3.11
LOCKED := pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header

help:  ## Show these lines
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name what; \
		do printf '  make %-10s %s\n' "$$name" "$$what"; done

demo: $(READY)  ## Start everything, run a job and send some mails before your eyes, stop again
	@$(development) $(python) -m demo

run: $(READY)  ## Start everything and stay up on port 8000, or PORT, until Ctrl-C
	@$(development) $(python) -m demo.run

test: $(READY) servers  ## Run every test (installs servers, Chromium and Node.js where missing)
	@$(test_env) $(python) -m pytest $(PYTEST) $(TESTS)

coverage: $(READY) servers  ## Run every test and report the lines and branches that none of them reaches
	@mkdir -p var && rm -f var/coverage*
	@$(test_env) $(python) -m coverage run -m pytest $(PYTEST) $(TESTS)
	@$(python) -m coverage combine --quiet && $(python) -m coverage report

servers:
	@bin/debian --for "a PostgreSQL server" --unless bin/postgresql postgresql
	@bin/debian --for "a Redis server" --unless bin/redis redis-server
	@bin/debian --for "the openssl command" --unless bin/openssl openssl
	@bin/debian --for "HAProxy" --unless bin/haproxy haproxy
	@bin/debian --for "PgBouncer" --unless bin/pgbouncer pgbouncer
	@bin/debian --for "promtool" --unless bin/promtool prometheus
	@bin/debian --for "Chromium" --unless bin/chromium chromium
	@bin/debian --for "Node.js with npm" --unless bin/node nodejs npm
	@bin/npm-packages

check: lint test  ## Format, lint, types, migrations, deployment settings, then the tests: what CI runs

lint: $(READY)  ## The quick part of check: everything but the tests
	@$(python) -m ruff format --check --quiet .
	@$(python) -m ruff check --quiet .
	@$(development) $(python) -m mypy $(OURS)
	@mkdir -p var
	@.venv/bin/lint-imports --no-logo >var/imports.log || { cat var/imports.log; exit 1; }
	@$(development) DATABASE_URL=sqlite:///:memory: $(python) manage.py makemigrations --check --dry-run
	@bin/debian --for "a PostgreSQL server" --unless bin/postgresql postgresql
	@$(python) -m tests.migrations
	@DJANGO_SETTINGS_MODULE=settings.production DATABASE_URL=sqlite:///:memory: ALLOWED_HOSTS=legwork.example.org \
		SECRET_KEY=$$($(python) -c 'import secrets; print(secrets.token_urlsafe(50))') \
		MAILGUN_API_KEY=key MAILGUN_SENDER_DOMAIN=mg.example.org MAILGUN_WEBHOOK_SIGNING_KEY=key NUM_PROXIES=1 \
		$(python) manage.py check --deploy --fail-level WARNING

release: $(READY)  ## Check what is committed, make bundle, client wheel, SBOM and image in var/release, and tag it; pushes nothing
	@bin/release --check
	@$(MAKE) --no-print-directory check
	@bin/release

format: $(READY)  ## Format the code and mend what can be mended by itself
	@$(python) -m ruff check --fix --quiet . ; $(python) -m ruff format .

docs: $(READY)  ## Write the pages of docs/ that are made from code: life cycles, failures of mail
	@$(python) -m tests.generated_pages
	@$(python) -m tests.provider_cases

mutants: $(READY)  ## Change central modules in small ways and list the changes that no test notices; MUTANTS="'rest.json.*'"
	@bin/mutants $(MUTANTS)

cluster: $(READY) servers  ## Start the whole topology, run the demo on it, kill each part under load; KEEP=1 stays up
	@$(development) $(python) -m tests.cluster $(if $(KEEP),--keep)

debian: $(READY)  ## Follow docs/operations/linux-host.md in a fresh Debian with systemd; as root, with debootstrap
	@$(python) -m tests.fresh_debian

chaos: $(READY)  ## Kill everything at random for five minutes, then count; CHAOS="--seconds 60 --jobs 2000 --seed 1"
	@bin/debian --for "a PostgreSQL server" --unless bin/postgresql postgresql
	@$(python) -m tests.chaos --seconds 300 --jobs 10000 $(CHAOS)

mail-chaos: $(READY)  ## Send 10,000 mails through all failures and kill what sends them; MAIL_CHAOS="--messages 1000 --seed 1"
	@bin/debian --for "a PostgreSQL server" --unless bin/postgresql postgresql
	@$(python) -m tests.mail_chaos $(MAIL_CHAOS)

soak: $(READY)  ## Keep a cluster busy for half an hour and judge its memory, transactions and snapshots; SOAK="--minutes 5"
	@bin/debian --for "a PostgreSQL server" --unless bin/postgresql postgresql
	@$(python) -m tests.soak $(SOAK)

bench: $(READY)  ## Measure queue, replicas, API and mail beside their peers, and streams; BENCH="--jobs 2000 --rounds 1" shortens the first
	@bin/debian --for "a PostgreSQL server" --unless bin/postgresql postgresql
	@bin/debian --for "a Redis server" --unless bin/redis redis-server
	@bin/debian --for "wrk" --unless bin/wrk wrk
	@$(python) -m benchmarks $(BENCH)
	@$(python) -m benchmarks.enqueue
	@$(python) -m benchmarks.snapshot
	@$(python) -m benchmarks.interference
	@$(python) -m benchmarks.replicas
	@$(python) -m benchmarks.api
	@$(python) -m benchmarks.end_to_end
	@$(python) -m benchmarks.mail
	@$(python) -m benchmarks.streams
	@$(python) -m benchmarks.monitored

lock: var/lock/bin/uv  ## Compile requirements*.txt anew from pyproject.toml
	@$< $(LOCKED) $(OLDEST) -o requirements.txt pyproject.toml
	@$< $(LOCKED) $(OLDEST) --extra dev -c requirements.txt -o requirements-dev.txt pyproject.toml
	@for peer in benchmarks/peers/*.in; do \
		version=$$(sed -n 's/^# Python /--python-version /p' "$$peer"); \
		$< $(LOCKED) $${version:-$(OLDEST)} -o "$${peer%.in}.txt" "$$peer" || exit 1; done
	@$< $(LOCKED) $(OLDEST) -c requirements-dev.txt -o tests/mutants/requirements.txt tests/mutants/requirements.in

var/lock/bin/uv: | $(READY)
	@$(python) -m venv --clear var/lock && var/lock/bin/python -m pip install --quiet --disable-pip-version-check uv

clean:  ## Remove what was made here: the environment, databases, logs, caches
	@rm -rf .venv var .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .schemathesis htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements-dev.txt bin/venv
	@bin/venv requirements-dev.txt
