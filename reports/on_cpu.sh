#!/usr/bin/env bash
# Measures on any machine what stands in reports/published of the CPU backend.
#   usage: reports/on_cpu.sh FOLDER STEP...      steps: build bits bench
#   build  the program with gcc and with clang, without optimisation and with all of it
#   bits   these and the embedded golden, with each kind of vectors of the machine: no bit depends on any of it
#   bench  how fast it is, on a quiet machine, its decode step five times more; and the decode step with threads that soon sleep while they wait, and that spin,
#          beside as many other programs as there are processors
# Ends with 1 if a step failed, with 2 for a step that does not exist.
set -uo pipefail
FOLDER=$(realpath -m "$1")
shift
cd "$(dirname "$0")/.."
PROGRAM=${PROGRAM:-build/qwen3-parity}
BUILDS="gcc-O0 gcc-O3 clang-O0 clang-O3"
TESTS="check_numerics check_matrix_fma check_profile"
TINY="--model golden/qwen3-tiny --golden golden/qwen3-tiny.h5"
FAILED=0
mkdir -p "$FOLDER"

build() {
    local name
    for name in $BUILDS; do
        # None: CMake's own kinds of builds have an -O of theirs, and the last one counts.
        # shellcheck disable=SC2086 # a list of targets
        cmake -S . -B "$FOLDER/$name" -DCMAKE_BUILD_TYPE=None -DCMAKE_C_COMPILER="${name%-*}" \
            -DCMAKE_C_FLAGS="-${name#*-}" -DQP_CUDA=OFF >/dev/null &&
            cmake --build "$FOLDER/$name" -j "$(nproc)" --target qwen3-parity $TESTS >/dev/null || FAILED=1
    done
}

# Prints the last line of a command's output behind a name; fails if the command does.
last_line() { # NAME COMMAND...
    local output status=0
    output=$("${@:2}" 2>&1) || status=$?
    echo "$1: $(tail -n 1 <<<"$output")$([ $status = 0 ] || echo " (exit code $status)")"
    return $status
}

bits() {
    local name test path paths
    for name in $BUILDS; do
        for test in $TESTS; do
            last_line "$name, $test" env OMP_NUM_THREADS=1 "$FOLDER/$name/tests/$test" || FAILED=1
        done
        paths=$("$FOLDER/$name/qwen3-parity" info --model golden/qwen3-tiny |
            sed -n 's/^backends *cpu, with vectors of//p' | sed 's/ (in use)//')
        [ -n "$paths" ] || FAILED=1
        for path in $paths; do
            # shellcheck disable=SC2086 # a list of options
            last_line "$name, $path" env "QP_VECTORS=$path" "$FOLDER/$name/qwen3-parity" verify $TINY || FAILED=1
        done
    done >"$FOLDER/cpu-bits.txt"
    cat "$FOLDER/cpu-bits.txt"
}

bench() {
    local policy i busy
    {
        echo "\$ qwen3-parity bench --backend cpu --shape qwen3-0.6b"
        "$PROGRAM" bench --backend cpu --shape qwen3-0.6b || FAILED=1
        printf '\n$ qwen3-parity bench --backend cpu --shape qwen3-0.6b --phase decode, five times: how much a run is worth\n'
        for ((i = 0; i < 5; i++)); do
            "$PROGRAM" bench --backend cpu --shape qwen3-0.6b --phase decode | grep -E '^(reading  |decoding|busy)'
        done
        for policy in GOMP_SPINCOUNT=10000 OMP_WAIT_POLICY=active; do
            printf '\n$ %s qwen3-parity bench --backend cpu --shape qwen3-0.6b --phase decode, beside as many programs as processors\n' $policy
            busy=()
            for ((i = 0; i < $(nproc); i++)); do
                sh -c 'while :; do :; done' &
                busy+=($!)
            done
            env "$policy" "$PROGRAM" bench --backend cpu --shape qwen3-0.6b --phase decode | grep -E '^(reading  |decoding|busy)'
            kill "${busy[@]}"
            wait "${busy[@]}" 2>/dev/null
        done
    } >"$FOLDER/bench-cpu.txt" 2>/dev/null
    cat "$FOLDER/bench-cpu.txt"
}

for step in "$@"; do
    case $step in
    build | bits | bench) "$step" ;;
    *) echo "on_cpu.sh: there is no step '$step'" >&2; exit 2 ;;
    esac
done
exit $FAILED
