# ClassifyMe: every way in. `make help` says what there is.
.DEFAULT_GOAL := help
.PHONY: help run admin test lint format train training-worker bench screenshots lighthouse clean web-env training-env

WEB := .venv/bin/python
TRAINING := .venv-training/bin/python
RECIPE ?= cifar10_fast
ARGS ?=

# Where this is set every start compiles Django anew, which takes longer than the start itself.
unexport PYTHONDONTWRITEBYTECODE

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18
	@echo "Variables: HOST, PORT, PYTHON; EXTRAS=openvino and the like for run; RECIPE and ARGS for"
	@echo "train, test and bench."

run: web-env ## Set everything up and serve on http://127.0.0.1:8000/ (PORT=, HOST=)
	@$(WEB) scripts/serve.py

admin: web-env ## Make an administrator's account
	@$(WEB) scripts/env_file.py
	@$(WEB) manage.py prepare
	@$(WEB) manage.py createsuperuser

test: training-env ## Run every test (ARGS="-k words" runs some)
	@PYTHON_BIN=$(TRAINING) scripts/run-tests $(ARGS)

lint: training-env ## Style, types, import walls, migrations, deployment settings, lock file
	@PYTHON_BIN=$(TRAINING) scripts/run-lint

format: training-env ## Put the code into the project's style; strip the notebooks
	@$(TRAINING) -m ruff check --fix .
	@$(TRAINING) -m ruff format .
	@$(TRAINING) -m notebooks.strip

train: training-env ## Train a recipe: make train RECIPE=cifar10_fast ARGS="--register"
	@$(TRAINING) scripts/env_file.py
	@$(TRAINING) manage.py migrate --verbosity 0
	@$(TRAINING) manage.py train $(RECIPE) $(ARGS)

training-worker: training-env ## Run what trains from the admin; `make run` does where it can
	@$(TRAINING) scripts/env_file.py
	@$(TRAINING) manage.py migrate --verbosity 0
	@$(TRAINING) manage.py worker --queue training

bench: training-env ## Measure what docs/benchmarks.md tells, and its peers, on this machine
	@$(TRAINING) -m benchmarks $(ARGS)

screenshots: training-env ## Take the pictures of the pages that the documents show
	@$(TRAINING) scripts/screenshots.py $(ARGS)

lighthouse: training-env ## Have Lighthouse judge the pages (needs Node.js)
	@$(TRAINING) scripts/lighthouse.py

clean: ## Remove the environments and caches; pictures, database and .env stay
	rm -rf .venv .venv-training .poetry .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	rm -rf var/static var/static.stamp test-results

web-env:
	@scripts/build-env web

training-env: ## Build .venv-training, where models are trained and measured
	@scripts/build-env training
