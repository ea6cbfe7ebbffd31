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
        cmake -S . -B "$FOLDER/$name" -DCMAKE_BUILD_TYPE=None -DCMAKE_C_COMPILER="${name%-*}" -DCMAKE_C_FLAGS="-${name#*-}" \
            -DQP_CUDA=OFF >/dev/null
        # shellcheck disable=SC2086 # a list of targets
        cmake --build "$FOLDER/$name" -j "$(nproc)" --target qwen3-parity $TESTS >/dev/null
    done
}

# Prints the last line of a command's output behind its name; fails if the command does.
last_line() { # NAME COMMAND...
    local output status=0
    output=$("${@:2}" 2>&1) || status=$?
    echo "$1: $(tail -n 1 <<<"$output")$([ $status = 0 ] || echo " (exit code $status)")"
    return $status
}

run() {
    local failed=0 name test path
    for name in $BUILDS; do
        for test in $TESTS; do
            last_line "$name, $test" env OMP_NUM_THREADS=1 "$FOLDER/$name/tests/$test" || failed=1
        done
        for path in $("$FOLDER/$name/qwen3-parity" info --model golden/qwen3-tiny |
            sed -n 's/^backends *cpu, with vectors of//p' | sed 's/ (in use)//'); do
            last_line "$name, $path" env "QP_VECTORS=$path" "$FOLDER/$name/qwen3-parity" verify \
                --model golden/qwen3-tiny --golden golden/qwen3-tiny.h5 || failed=1
        done
    done
    return $failed
}

case ${2:-both} in
build) build ;;
run) run ;;
both) build; run ;;
*) echo "cpu_bits.sh: there is no '$2'; there are build and run" >&2; exit 2 ;;
esac
