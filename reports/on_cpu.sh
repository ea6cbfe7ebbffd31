#!/usr/bin/env bash
# Measures on any machine what stands in reports/published of the CPU backend.
#   usage: reports/on_cpu.sh FOLDER STEP...      steps: build bits bench bounds page
#   build  the program with gcc and with clang, without optimisation and with all of it
#   bits   these and the embedded golden, with each kind of vectors of the machine: no bit depends on any of it
#   bench  how fast it is, on a quiet machine, its decode step five times more; and the decode step with threads that soon sleep while they wait, and that spin,
#          beside as many other programs as there are processors
#   bounds what another order of sums makes of the fused plan, by which examples/gate-bounded.json is chosen, and what the gate then says
#   page   the page in a browser: bytes, time to write, time to load
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

# Of the rows that a bound is for: how many elements differ, by how many ulp, and how many times PyTorch's error ours is.
READ_BOUNDS='import fnmatch, json, sys
rows = json.load(open(sys.argv[1]))["rows"]
for key, mode in (("*.residual_attn", "local"), ("*/model.layers.[0-9]", "local"), ("*/model.layers.*", "carried")):
    found = [r for r in rows if fnmatch.fnmatch(r["key"], key) and r["mode"] == mode]
    factors = [r["errors"]["ours_oracle"][e] / r["errors"]["golden_oracle"][e] for r in found for e in ("rms", "max_abs")]
    print(key, mode, "rows", len(found), "elements", sum(r["elements"] for r in found), "differ",
          sum(r["mismatches"] for r in found), "ulp", max(r["max_ulp"] for r in found), "times", max(factors))'

bounds() {
    local fault
    {
        echo '$ qwen3-parity verify --plan fused --fault wrong-split --json split.json'
        "$PROGRAM" verify --plan fused --fault wrong-split --json "$FOLDER/split.json" | tail -n 1
        python3 -c "$READ_BOUNDS" "$FOLDER/split.json" || FAILED=1
        for fault in wrong-split residual-before-cast; do
            echo "\$ qwen3-parity verify --gate examples/gate-bounded.json --fault $fault"
            "$PROGRAM" verify --gate examples/gate-bounded.json --fault $fault | tail -n 1
            echo "exit code ${PIPESTATUS[0]}"
        done
    } >"$FOLDER/gate-bounds.txt"
    cat "$FOLDER/gate-bounds.txt"
}

page() {
    mkdir -p "$FOLDER/page"
    {
        echo '$ build/tests/make_html FOLDER'
        build/tests/make_html "$FOLDER/page" || FAILED=1
        echo '$ tests/check_html.py FOLDER'
        /usr/bin/python3 tests/check_html.py "$FOLDER/page" || FAILED=1
    } >"$FOLDER/page.txt"
    cat "$FOLDER/page.txt"
}

for step in "$@"; do
    case $step in
    build | bits | bench | bounds | page) "$step" ;;
    *) echo "on_cpu.sh: there is no step '$step'" >&2; exit 2 ;;
    esac
done
exit $FAILED
