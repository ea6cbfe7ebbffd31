# A thin front of CMake. PRESET=sanitize builds with AddressSanitizer and UBSan; CMAKE_ARGS goes to the configuration.
PRESET ?= release
CMAKE_ARGS ?=
BUILD := $(if $(filter sanitize,$(PRESET)),build-sanitize,build)
MAKEFLAGS += --no-print-directory
JOBS := $(shell nproc 2>/dev/null || echo 2)

.PHONY: verify test build dependencies clean

verify: build
	$(BUILD)/qwen3-parity verify --report $(BUILD)/report
	$(BUILD)/qwen3-parity generate --prompt "The capital of Aistonia is Flubarg. What is the capital of Aistonia?"

test: DEPENDENCIES = tests
test: build
	ctest --preset $(PRESET) -j $(JOBS)

build: dependencies
	cmake --preset $(PRESET) $(CMAKE_ARGS)
	cmake --build --preset $(PRESET) -j $(JOBS)

dependencies:
	@sh cmake/dependencies.sh $(DEPENDENCIES)

clean:
	rm -rf build build-sanitize
