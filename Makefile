# Every target is one line of Python: `python -m devhost --help` shows the same commands with their options.
PYTHON ?= python3
DEVHOST = @$(PYTHON) -m devhost.bootstrap && .venv/bin/python -m devhost

.DEFAULT_GOAL := help
.PHONY: help start stop reset status logs token test lint check-infra format lock services

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

start:  ## everything from nothing: packages, PostgreSQL, Azurite, the app, a trained model, a scored transaction
	$(DEVHOST) start

stop:  ## stop what start started; data stays
	$(DEVHOST) stop

reset:  ## stop and delete all local data
	$(DEVHOST) reset

status:  ## what runs, where, and since when
	$(DEVHOST) status

logs:  ## follow the logs
	$(DEVHOST) logs

token:  ## print a bearer token: make -s token ROLE=admin|scientist|analyst
	$(DEVHOST) token $(or $(ROLE),scientist)

services:  ## PostgreSQL, Azurite and the token issuer only, for Azure Functions Core Tools (func start)
	$(DEVHOST) start --services-only

test:  ## lint, types, layers and the whole test suite; ARGS="-k name" narrows it
	$(DEVHOST) test -- $(ARGS)

lint:  ## ruff, mypy and the import contracts
	$(DEVHOST) lint

check-infra:  ## the checks of infra/, and checkov over what production deploys (in an environment of its own)
	@$(PYTHON) -m devhost.bootstrap && .venv/bin/python -m infra.checks && .venv/bin/python -m infra.checks.scan

format:  ## let ruff format and fix what it can
	$(DEVHOST) format

lock:  ## resolve the dependencies again and write the lock files
	$(DEVHOST) lock
