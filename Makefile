# make demo    train, evaluate, export and predict on real images (about five minutes, two cores)
# make test    run the tests, two at a time: JOBS=4 runs four (about five minutes, two cores)
# make test-quick  run the tests without processes, training and large networks (about a minute)
# make test-slow  run the slow tests, which `make test` skips
# make lint    check style, types and import rules
# make docs    build the documentation into build/site; `make docs-config` regenerates the
#              configuration page from the schema, `make docs-models` the architecture pages from
#              the model cards and docs/models/measured
# make release-check  build sdist and wheel into build/dist, install the wheel in a separate
#              environment and use it there
#
# All targets use .venv, which the first one creates. PYTHON=python3.12 VENV=.venv-3.12 chooses
# another Python, in a separate environment.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := demo
JOBS ?= 2
# The tests of a file share fixtures, so they run in one process.
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

.PHONY: demo test test-quick test-slow lint docs docs-config docs-models release-check clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml requirements.txt setup.py | $(BIN)/python
	$(BIN)/pip install --quiet --editable '.[cpu,digits,docs,onnx,openvino,test]'
	touch $@

$(VENV)/lint-installed: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[lint]'
	touch $@

$(VENV)/release-installed: | $(BIN)/python
	$(BIN)/pip install --quiet 'build>=1.2'
	touch $@

# --overwrite replaces the run of an earlier demo, finished or interrupted.
demo: $(VENV)/installed
	$(BIN)/ppcls data digits $(RUN)/digits
	$(BIN)/ppcls train -c quick_start/HarDNet39_ds --data $(RUN)/digits \
	    -o Global.output_dir=$(RUN) Global.save_inference_dir=$(RUN)/inference --overwrite
	$(BIN)/ppcls eval -c $(RUN)/HarDNet39_ds/config.yaml \
	    -o Global.pretrained_model=$(RUN)/HarDNet39_ds/best_model
	$(BIN)/ppcls export -c $(RUN)/HarDNet39_ds/config.yaml \
	    -o Global.pretrained_model=$(RUN)/HarDNet39_ds/best_model
	$(BIN)/ppcls predict $(RUN)/inference $(RUN)/digits/val_list.txt --format jsonl \
	    --grid $(RUN)/HarDNet39_ds/predictions.png > $(RUN)/HarDNet39_ds/predictions.jsonl
	@echo
	@echo "images             $(RUN)/digits/"
	@echo "weights            $(RUN)/HarDNet39_ds/best_model.pdparams"
	@echo "training curves    $(RUN)/HarDNet39_ds/curves.png"
	@echo "inference model    $(RUN)/inference/"
	@echo "predictions        $(RUN)/HarDNet39_ds/predictions.jsonl, predictions.png beside it"

test: $(VENV)/installed
	$(PYTEST)

test-quick: $(VENV)/installed
	$(PYTEST) -m "not slow and not process and not training and not large"

test-slow: $(VENV)/installed
	$(PYTEST) -m slow

lint: $(VENV)/lint-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

docs-config: $(VENV)/installed
	$(BIN)/python docs/configuration.py

docs-models: $(VENV)/installed
	$(BIN)/python docs/model_pages/generate.py

release-check: $(VENV)/release-installed
	$(BIN)/python .ci/release_check.py

clean:
	rm -rf $(VENV) $(RUN) build dist *.egg-info
