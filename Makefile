# make demo    train, evaluate, export and predict on real images (about five minutes, two cores)
# make test    run the tests, two at a time: JOBS=4 runs four (about five minutes, two cores)
# make test-quick  run the tests without processes, training and large networks (about a minute)
# make test-slow  run the slow tests, which `make test` skips
# make lint    check style, types and import rules
# make docs    build the documentation into build/site; `make docs-config` regenerates the
#              configuration page from the schema, `make docs-models` the architecture pages from
#              the model cards and docs/models/measured
# make cpp     build the C++ library and ppcls_predict into build/cpp; `make test-cpp` tests them,
#              `make lint-cpp` checks their style, `make fuzz-cpp` runs the fuzzers (FUZZ_SECONDS
#              each, clang). They install Debian packages where they may, and else name them
# make vectors  make tests/vectors anew: pictures, tensors and answers that every reader must give
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
# After the crash of a process the others would wait for ever.
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --max-worker-restart=0

# The C++ library: options of CMake in CPP_OPTIONS, such as -DPADDLE_INFERENCE_DIR=… .
CPP := build/cpp
CPP_PACKAGES := g++ cmake ninja-build libopencv-core-dev libopencv-imgproc-dev libyaml-cpp-dev \
    nlohmann-json3-dev libcli11-dev libssl-dev libjpeg62-turbo-dev libpng-dev libwebp-dev catch2
CPP_FILES := $(shell git ls-files 'deploy/cpp/*.cpp' 'deploy/cpp/*.h' 'deploy/cpp/*.c')
FUZZ_SECONDS ?= 150

.PHONY: demo test test-quick test-slow lint docs docs-config docs-models release-check clean
.PHONY: vectors cpp test-cpp lint-cpp fuzz-cpp cpp-packages

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

vectors: $(VENV)/installed
	$(BIN)/python -m ppcls.exporting.vectors tests/vectors

cpp-packages:
	@dpkg -s $(CPP_PACKAGES) > /dev/null 2>&1 || \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	        apt-get update -q > /dev/null; \
	        DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends \
	            $(CPP_PACKAGES) > /dev/null; \
	    else \
	        echo "the C++ library needs these packages: apt install $(CPP_PACKAGES)" >&2; exit 1; \
	    fi

cpp: $(VENV)/installed cpp-packages
	cmake -S deploy/cpp -B $(CPP) -G Ninja -DPPCLS_TESTS=ON $(CPP_OPTIONS) -DOpenVINO_DIR="$$( \
	    $(BIN)/python -c 'import openvino; print(openvino.__path__[0])')/cmake" > /dev/null
	cmake --build $(CPP)

test-cpp: cpp
	ctest --test-dir $(CPP) --output-on-failure

lint-cpp: cpp
	clang-format --dry-run --Werror $(CPP_FILES)
	clang-tidy --quiet -p $(CPP) $(filter deploy/cpp/src/%.cpp deploy/cpp/app/%.cpp,\
	    $(filter-out %/paddle.cpp,$(CPP_FILES)))

fuzz-cpp: cpp-packages
	cmake -S deploy/cpp -B $(CPP)-fuzz -G Ninja -DPPCLS_FUZZ=ON -DPPCLS_OPENVINO=OFF \
	    -DBUILD_SHARED_LIBS=OFF -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	    -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ > /dev/null
	cmake --build $(CPP)-fuzz
	mkdir -p $(CPP)-fuzz/images $(CPP)-fuzz/bundles
	for name in tests/vectors/bundles/*; do \
	    cp $$name/inference.yml $(CPP)-fuzz/bundles/$$(basename $$name); done
	$(CPP)-fuzz/fuzz/fuzz_image -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1024 \
	    $(CPP)-fuzz/images tests/vectors/images
	$(CPP)-fuzz/fuzz/fuzz_bundle -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1024 \
	    $(CPP)-fuzz/bundles

release-check: $(VENV)/release-installed
	$(BIN)/python .ci/release_check.py

clean:
	rm -rf $(VENV) $(RUN) build dist *.egg-info
