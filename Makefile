# Two commands do everything on a fresh machine with Python >= 3.10 (with venv) and g++: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
# The suite in three processes, a file in one of them: tests wait for servers and disks for a third of their time.
THREE := -n 3 --dist loadfile
# Every process that a test starts would compile bebr anew, and every worker rewrite all tests.
unexport PYTHONDONTWRITEBYTECODE
SOURCES := CMakeLists.txt pyproject.toml $(shell find csrc cmake proto tests/cpp/emulate -name '*.cpp' -o -name '*.cu' -o -name '*.h' -o -name '*.cmake' -o -name '*.proto')

.PHONY: demo demo-images demo-regions test costs test-elsewhere elsewhere-scalar elsewhere-avx2 elsewhere-lowest lint types docs newcomer unit wheel tsan gpu arm messages bench format build clean
.PHONY: tsan-cmake tsan-front sanitize sanitize-build sanitize-engine sanitize-cuda sanitize-planted sanitize-front

demo: $(STAMP)
	$(BIN)/python -m benchmarks.demo

# Emoji by phrases: trains a small RILS (kept in demo/images), leaves a sheet of pictures for each query.
# make demo-images QUERY="'red heart' 'smiling cat'"
demo-images: $(STAMP)
	$(BIN)/python -m benchmarks.demo_images $(if $(QUERY),--query $(QUERY))

# Things in scenes of emoji, found by words and by a drawing; leaves two pictures in demo/regions.
# make demo-regions QUERY="'red fruit' vehicle"
demo-regions: $(STAMP)
	$(BIN)/python -m benchmarks.demo_regions $(if $(QUERY),--query $(QUERY))

# Three at a time, for one of them waits for the network or a disk, compilers counted (ninja asks make); the longest first:
# C++ is compiled for the sanitizers while packages are fetched, and its tests run beside what checks Python. The suite
# comes last, alone, in processes of its own.
test: $(VENV)/python-ready
	$(MAKE) --no-print-directory -j 3 -O sanitize tsan-front lint types docs wheel messages
	$(MAKE) --no-print-directory unit

# Processor time of each piece of `make test`, one after the other: in a clone that has built nothing. CONTRIBUTING.md has
# the table.
costs:
	@for piece in $(VENV)/python-ready $(VENV)/cuda-ready $(STAMP) sanitize-build sanitize-engine sanitize-cuda sanitize-planted sanitize-front tsan-front lint types docs wheel messages unit; do \
	  bash -c 'TIMEFORMAT="$$1: %U s and %S s in the system, took %R s"; time $(MAKE) --no-print-directory --silent $$1 > build-costs.log || cat build-costs.log' - $$piece; \
	done
	@rm -f build-costs.log

# The environment: everything that the demo, the tests and the benchmarks use. Rebuilt when C++ or the project file changes.
$(VENV)/python-ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$(PYTHON) is too old: want Python 3.10 or newer (make PYTHON=...)"; exit 1; }
	@command -v g++ >/dev/null || { echo "g++ is missing: apt-get install g++"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --progress-bar off cmake ninja
	touch $@

$(VENV)/cuda-ready: $(VENV)/python-ready
	$(BIN)/pip install --quiet --progress-bar off --group cuda || echo "built without bebr._cuda: the CUDA compiler cannot be installed here"
	touch $@

# --no-compile: Python compiles a module when it is first imported, and most of these 26,000 never are.
$(STAMP): $(VENV)/cuda-ready $(SOURCES)
	$(BIN)/pip install --quiet --progress-bar off --no-compile -C cmake.define.BEBR_WERROR=ON -C cmake.define.BEBR_EMULATED=ON -e '.[dev]'
	@$(BIN)/python -c 'import bebr._front' 2>/dev/null || echo "built without the server's front, so Python answers every call: apt-get install libnghttp2-dev pkg-config libssl-dev"
	touch $@

build: $(STAMP)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files 'csrc/*.h' 'csrc/*.cpp' 'csrc/*.cu' 'tests/cpp/*.h' 'tests/cpp/*.cpp')
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

# The site, in site/: a link or a name that leads nowhere is an error.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# How long docs/index.md takes somebody who has nothing yet: a fresh clone, a fresh environment, the page's programs.
newcomer: $(STAMP)
	$(BIN)/python -m benchmarks.newcomer

unit: $(STAMP)
	$(BIN)/pytest $(THREE)

# What `pip install bebr` brings: a wheel of what the environment's own build compiled, tried
# in an environment that has nothing else.
WHEEL := build/wheel
wheel: $(STAMP)
	rm -rf $(WHEEL)
	$(BIN)/pip wheel --quiet --progress-bar off --no-deps --no-build-isolation -w $(WHEEL) -C build-dir=$(WHEEL)/cmake \
	  -C cmake.define.BEBR_BUILT=$$($(BIN)/python -c 'import bebr._core, pathlib; print(pathlib.Path(bebr._core.__file__).parent)') .
	$(BIN)/python -m tests.packaging.wheel $(WHEEL)

# The whole Python suite as other machines see it: by the scalar kernels, then by AVX2's, torch without vector
# instructions both times; then with the oldest dependencies that pyproject.toml allows, in an environment of their own.
test-elsewhere: elsewhere-scalar elsewhere-avx2 elsewhere-lowest

elsewhere-scalar elsewhere-avx2: elsewhere-%: $(STAMP)
	BEBR_ISA=$* ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 $(BIN)/pytest $(THREE)

LOWEST := .venv-lowest
elsewhere-lowest: $(STAMP)
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/pip install --quiet uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct -C build-dir=build/lowest -e '.[all,test,ecosystem]'
	$(LOWEST)/bin/pytest $(THREE)

# The C++ tests, without Python, under AddressSanitizer and UndefinedBehaviorSanitizer, on every ISA this machine has; the
# emulated CUDA kernels, and the bugs planted in them; the server's front.
sanitize: sanitize-cuda sanitize-engine sanitize-planted sanitize-front

sanitize-build: $(VENV)/python-ready
	$(BIN)/cmake -S . -B build/sanitize -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) -DBEBR_PYTHON=OFF -DBEBR_TESTS=ON -DBEBR_SANITIZE=ON -DBEBR_WERROR=ON > build-sanitize.log || { cat build-sanitize.log; exit 1; }
	@rm -f build-sanitize.log
	$(BIN)/cmake --build build/sanitize

sanitize-engine: sanitize-build
	build/sanitize/bebr_tests

sanitize-cuda: sanitize-build
	build/sanitize/bebr_cuda_tests

sanitize-planted: sanitize-build
	$(BIN)/python tests/cpp/cuda/planted.py run build/sanitize/bebr_planted_tests

sanitize-front: sanitize-build
	@test ! -x build/sanitize/bebr_front_tests || { build/sanitize/bebr_front_tests && build/sanitize/bebr_front_tests --fuzz 20000 1; }

# The same under ThreadSanitizer: writers and readers of every index at once.
tsan: tsan-front
	$(BIN)/cmake --build build/tsan
	build/tsan/bebr_tests
	build/tsan/bebr_cuda_tests

tsan-cmake: $(VENV)/python-ready
	$(BIN)/cmake -S . -B build/tsan -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) -DBEBR_PYTHON=OFF -DBEBR_TESTS=ON -DBEBR_SANITIZE_THREADS=ON -DBEBR_WERROR=ON > build-tsan.log || { cat build-tsan.log; exit 1; }
	@rm -f build-tsan.log

# Where libnghttp2 is missing there is no front.
tsan-front: tsan-cmake
	@if $(BIN)/ninja -C build/tsan -t targets all | grep -q '^bebr_front_tests:'; then \
	  $(BIN)/cmake --build build/tsan --target bebr_front_tests && build/tsan/bebr_front_tests && build/tsan/bebr_front_tests --fuzz 5000 1; \
	fi

# All that runs on a GPU: the kernels' tests by nvcc's kernels, then under compute-sanitizer; Python's; times. Each ends
# with status 3 and "no CUDA device" where there is none.
gpu: $(STAMP)
	$(BIN)/cmake -S . -B build/gpu -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) -DPython_EXECUTABLE=$(abspath $(BIN)/python) -DBEBR_PYTHON=OFF -DBEBR_CUDA=ON -DBEBR_DEVICE_TESTS=ON -DBEBR_WERROR=ON
	$(BIN)/cmake --build build/gpu --target bebr_device_tests
	sh tests/cpp/cuda/on_device.sh build/gpu/bebr_device_tests
	$(BIN)/pytest -m cuda
	$(BIN)/python -m benchmarks.gpu
	$(BIN)/python -m benchmarks.gpu_peers

# The C++ tests on ARM: built by a cross compiler, run by an emulator of all that the kernels know (NEON, dotprod, i8mm),
# and the kernels' tests as machines without i8mm, and without dotprod, would choose. Side by side: an emulated test takes
# one processor.
ARM_NEEDS := aarch64-linux-gnu-g++ qemu-aarch64-static
QEMU := qemu-aarch64-static -L /usr/aarch64-linux-gnu -cpu
arm: $(STAMP)
	@for one in $(ARM_NEEDS); do command -v $$one >/dev/null || { echo "make arm is skipped: $$one is missing (apt-get install g++-aarch64-linux-gnu qemu-user-static)"; exit 0; }; done; \
	$(MAKE) --no-print-directory arm-tests

.PHONY: arm-tests
arm-tests:
	$(BIN)/cmake -S . -B build/arm -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake -DBEBR_PYTHON=OFF -DBEBR_TESTS=ON -DBEBR_WERROR=ON > build-arm.log || { cat build-arm.log; exit 1; }
	@rm -f build-arm.log
	$(BIN)/cmake --build build/arm --target bebr_tests
	$(MAKE) --no-print-directory -j 4 -O arm-others arm-i8mm arm-dot arm-neon

.PHONY: arm-others arm-i8mm arm-dot arm-neon
arm-others:
	BEBR_REQUIRE_ISA=neon_i8mm $(QEMU) max,pauth-impdef=on build/arm/bebr_tests --others
arm-i8mm:
	BEBR_REQUIRE_ISA=neon_i8mm $(QEMU) max,pauth-impdef=on build/arm/bebr_tests --kernels
arm-dot:
	BEBR_REQUIRE_ISA=neon_dot $(QEMU) neoverse-n1 build/arm/bebr_tests --kernels=neon_dot
arm-neon:
	BEBR_REQUIRE_ISA=neon $(QEMU) cortex-a72 build/arm/bebr_tests --kernels=neon

# Mutated messages, which the front has to read as protobuf does; calls with wrong keys, or none.
messages: $(STAMP)
	@! $(BIN)/python -c 'import bebr._front' 2>/dev/null || $(BIN)/python -m tests.serve.front_messages 100000 1
	BEBR_KEY_REQUESTS=10000 $(BIN)/pytest -q tests/serve/test_keys.py -k reach_no_handler

# Kernels alone, beside faiss's and a plain read of memory.
bench: $(STAMP)
	$(BIN)/python -m benchmarks.kernels

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files 'csrc/*.h' 'csrc/*.cpp' 'csrc/*.cu' 'tests/cpp/*.h' 'tests/cpp/*.cpp')

clean:
	rm -rf build dist demo site
