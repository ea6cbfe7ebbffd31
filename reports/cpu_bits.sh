#!/usr/bin/env bash
# The CPU's bits depend neither on the compiler, nor on its optimisation, nor on the kind of vectors: builds the program with
# gcc and with clang, without optimisation and with all of it, and verifies the embedded golden with each kind of vectors
# that the machine has. Run on any machine:
#   usage: reports/cpu_bits.sh FOLDER [build|run]      both, or one, so that a machine can run what another one built
# Ends with 1 if a bit differs.
set -euo pipefail
FOLDER=$(realpath -m "$1")
cd "$(dirname "$0")/.."
BUILDS="gcc-O0 gcc-O3 clang-O0 clang-O3"
TESTS="check_numerics check_matrix_fma check_profile"

build() {
    for name in $BUILDS; do
        cmake -S . -B "$FOLDER/$name" -DCMAKE_BUILD_TYPE= -DCMAKE_C_COMPILER="${name%-*}" -DCMAKE_C_FLAGS="-${name#*-}" \
            -DQP_CUDA=OFF >/dev/null
        # shellcheck disable=SC2086 # a list of targets
        cmake --build "$FOLDER/$name" -j "$(nproc)" --target qwen3-parity $TESTS >/dev/null
    done
}

run() {
    local failed=0
    for name in $BUILDS; do
        for test in $TESTS; do
            echo "$name: $(OMP_NUM_THREADS=1 "$FOLDER/$name/tests/$test" | tail -n 1 | sed "s/^/$test: /")"
        done
        for path in $("$FOLDER/$name/qwen3-parity" info | sed -n 's/^backends *cpu, with vectors of//p' | sed 's/ (in use)//'); do
            echo "$name, $path: $(QP_VECTORS=$path "$FOLDER/$name/qwen3-parity" verify --model golden/qwen3-tiny \
                --golden golden/qwen3-tiny.h5 | tail -n 1)"
        done
    done | tee "$FOLDER/cpu-bits.txt"
    ! grep -E "FAIL|Failures: [1-9]|Errors: [1-9]" "$FOLDER/cpu-bits.txt" >/dev/null || failed=1
    return $failed
}

case ${2:-both} in
build) build ;;
run) run ;;
both) build; run ;;
*) echo "cpu_bits.sh: there is no '$2'; there are build and run" >&2; exit 2 ;;
esac
