#!/usr/bin/env bash
# Measures on a card what stands in reports/published, with public tools alone: PyTorch and transformers as in
# golden/requirements.txt, Nsight Compute and compute-sanitizer of the CUDA toolkit.
#   usage: reports/on_card.sh OUT STEP...      steps: tests tiny orders shapes lengths twin generate sanitize
#                                                          profile bench probe publish
# `publish` turns what the other steps left in OUT into reports/published, on any machine.
# PROGRAM and TESTS name the built program and the folder of the built tests; WORK is a folder with room for 30 GB.
# Ends with 1 if a step failed, with 2 for a step that does not exist.
set -uo pipefail
OUT=$(realpath -m "$1")
shift
cd "$(dirname "$0")/.."
FAILED=0
PROGRAM=${PROGRAM:-build/qwen3-parity}
TESTS=${TESTS:-build/tests}
WORK=${WORK:-$(mktemp -d)}
TINY="--model golden/qwen3-tiny --golden golden/qwen3-tiny.h5"
OURS="--impl linear=contract --impl scores=contract --impl context=contract"
mkdir -p "$OUT" "$WORK"

# Runs a command, keeps it with its output in a file of OUT, and prints the last lines.
keep() {
    local file=$1 lines=$2
    shift 2
    local start=$SECONDS
    echo "\$ $*" >"$OUT/$file"
    "$@" >>"$OUT/$file" 2>&1 || FAILED=1
    echo "== $file ($((SECONDS - start)) s)"
    tail -n "$lines" "$OUT/$file"
}

# Whether a command ends with this exit code.
exits_with() { # CODE COMMAND...
    "${@:2}"
    [ $? = "$1" ]
}

# The lines of FILE... that grep finds, as a block of code.
quote() { # FILE... -- ARGUMENT_OF_GREP...
    local files=()
    while [ "$1" != -- ]; do
        files+=("$1")
        shift
    done
    echo '```'
    grep -hE "${@:2}" "${files[@]}" || FAILED=1
    echo '```'
}

random_model() { # NAME OPTION...
    [ -d "$WORK/$1" ] || python3 golden/random_model.py --output "$WORK/$1" "${@:2}"
}

parity() { # NAME PROMPTS: captures the random model of this name, and verifies both kinds of products
    keep "capture-$1.txt" 2 python3 golden/capture.py "$WORK/$1" --prompts "golden/$2" --compression 0 --samples 2048 \
        --output "$WORK/$1.h5" --force
    keep "verify-$1-cublas.txt" 2 "$PROGRAM" verify --backend cuda --model "$WORK/$1" --golden "$WORK/$1.h5" \
        --json "$OUT/verify-$1-cublas.json"
    keep "verify-$1-contract.txt" 2 "$PROGRAM" verify --backend cuda --model "$WORK/$1" --golden "$WORK/$1.h5" $OURS \
        --json "$OUT/verify-$1-contract.json"
}

tests() {
    for test in numerics matrix_fma profile device operations_gpu; do keep "test-$test.txt" 3 "$TESTS/check_$test"; done
    keep test-block_fma_gpu.txt 3 "$TESTS/check_block_fma_gpu" 16000
    keep test-special_gpu.txt 7 "$TESTS/check_special_gpu" 256
}

tiny() {
    keep verify-tiny-cublas.txt 2 "$PROGRAM" verify --backend cuda $TINY --json "$OUT/verify-tiny-cublas.json"
    keep verify-tiny-contract.txt 2 "$PROGRAM" verify --backend cuda $TINY $OURS --json "$OUT/verify-tiny-contract.json"
    keep fault.txt 1 exits_with 1 "$PROGRAM" verify --backend cuda $TINY --fault weight-before-cast
    keep coherence.txt 2 "$PROGRAM" coherence --backend cuda --model golden/qwen3-tiny --prompts golden/coherence.json
}

orders() {
    keep attention-order.txt 3 python3 golden/attention_order.py --heads 4 5 8 16 32 64 --queries 1 0 \
        --keys 1 2 5 7 15 24 33 63 64 100 128 200 255 257 300 513 1000 1030 2049 4096
}

shapes() {
    while read -r name shape layers; do
        random_model "$name" --shape "$shape" --layers "$layers"
        parity "$name" prompts_shapes.json
    done <<<"${SHAPES:-0.6b qwen3-0.6b 3
8b qwen3-8b 1}"
}

# Numbers of keys where PyTorch takes other kernels: odd ones in a prefill, and more than the shared memory holds.
lengths() {
    random_model odd --hidden 256 --heads 16 --kv-heads 8 --intermediate 768 --layers 2
    parity odd prompts_odd.json
    random_model long --hidden 256 --heads 4 --kv-heads 2 --intermediate 768 --layers 1
    parity long prompts_long.json
}

# The CPU backend against the card's PyTorch, with each kind of vectors that the machine has.
twin() {
    while read -r name vectors options; do
        # shellcheck disable=SC2086 # a list of options
        random_model "$name" $options
        keep "capture-$name.txt" 2 python3 golden/capture.py "$WORK/$name" --prompts golden/prompts_lengths.json \
            --compression 0 --samples 2048 --output "$WORK/$name.h5" --force
        for path in ${vectors//,/ }; do
            keep "twin-$name-$path.txt" 2 env "QP_VECTORS=$path" "$PROGRAM" verify --model "$WORK/$name" --golden "$WORK/$name.h5" \
                --json "$OUT/twin-$name-$path.json"
        done
    done <<<"${TWINS:-hidden-320 avx512,avx2,portable --hidden 320 --heads 5 --kv-heads 1 --intermediate 448 --layers 2
untied-512 avx512,avx2 --hidden 512 --heads 8 --kv-heads 2 --intermediate 1536 --layers 2 --untied
0.6b-4 avx512 --shape qwen3-0.6b --layers 4}"
}

# What the card's arithmetic is, and its numeric profile.
probe() {
    rm -f "$OUT/sm_90.h5"
    keep probe.txt 30 "$PROGRAM" probe --backend cuda --profile "$OUT/sm_90.h5"
}

# Greedy tokens, 128 of them, ours and PyTorch's.
generate() {
    random_model 0.6b-whole --shape qwen3-0.6b --layers 28
    local prompt="The river of Corvashti is Yorvandis. What is the river of Corvashti?"
    for model in golden/qwen3-tiny "$WORK/0.6b-whole"; do
        local name ours torch
        name=$(basename "$model")
        echo "\$ qwen3-parity generate --backend cuda and golden/generate_torch.py, --model $model --prompt \"$prompt\" --max-tokens 128"
        ours=$("$PROGRAM" generate --backend cuda --model "$model" --prompt "$prompt" --max-tokens 128 --ids --ignore-end)
        torch=$(python3 golden/generate_torch.py "$model" --prompt "$prompt" --max-tokens 128 2>/dev/null)
        [ "$ours" = "$torch" ] && [ "$(wc -w <<<"$ours")" = 128 ] && echo "$name: 128 tokens equal" || echo "$name: DIFFERENT"
        printf 'ours    %s\nPyTorch %s\n' "$ours" "$torch"
    done >"$OUT/generate.txt"
    cut -c1-120 "$OUT/generate.txt"
    ! grep -q DIFFERENT "$OUT/generate.txt" || FAILED=1
}

# initcheck would take cuBLAS's own reading of padding for ours, so it sees our kernels.
sanitize() {
    for tool in memcheck racecheck initcheck; do
        keep "sanitize-$tool.txt" 2 compute-sanitizer --tool "$tool" "$PROGRAM" verify --backend cuda $TINY $OURS
    done
    keep sanitize-memcheck-cublas.txt 2 compute-sanitizer --tool memcheck "$PROGRAM" verify --backend cuda $TINY
}

profile() {
    keep profile-ncu.txt 12 ncu --nvtx --nvtx-include "qwen3-parity@decode/model.layers.2.self_attn.q_norm" \
        --section SpeedOfLight --print-nvtx-rename none "$PROGRAM" generate --backend cuda --model golden/qwen3-tiny \
        --prompt "The capital" --max-tokens 2
    keep profile-ncu-bench.txt 12 ncu --nvtx --nvtx-include "qwen3-parity@model.layers.2.self_attn.q_norm/" \
        --profile-from-start off --section SpeedOfLight --print-nvtx-rename none "$PROGRAM" bench --backend cuda --profile \
        --model golden/qwen3-tiny
}

bench() {
    while read -r name shape layers; do
        random_model "$name-bench" --shape "$shape" --layers "$layers" --vocabulary 151936
        keep "bench-$name.txt" 12 "$PROGRAM" bench --backend cuda --model "$WORK/$name-bench" --json "$OUT/bench-$name.json"
        keep "bench-$name-torch.txt" 70 python3 golden/bench_torch.py "$WORK/$name-bench" --prompt-tokens 128 --prefill 512 \
            --steps 32 --repeats 2 --ours "$OUT/bench-$name.json" --output "$OUT/bench-$name-torch.json"
        rm -r "$WORK/$name-bench"
    done <<<"${BENCHES:-0.6b qwen3-0.6b 28
8b qwen3-8b 36}"
}

# What each run said last, behind its command; the JSON files have the rest.
publish() {
    local to=reports/published file
    for file in "$OUT"/{verify,bench}-*.json; do gzip -9nc "$file" >"$to/$(basename "$file" .json)-h200.json.gz"; done
    grep -v -i warn "$OUT/attention-order.txt" >"$to/attention-order-h200.txt"
    cp "$OUT/test-block_fma_gpu.txt" "$to/block-fma-h200.txt" || FAILED=1
    cp "$OUT/test-special_gpu.txt" "$to/special-h200.txt" || FAILED=1
    cp "$OUT/probe.txt" "$to/probe-h200.txt" || FAILED=1
    sed -E 's#\(/[^)]*/([^/)]*)\)#(\1)#' "$OUT"/profile-ncu*.txt >"$to/profile-ncu-h200.txt"
    {
        echo "# The CUDA backend against PyTorch, $(date -u -r "$OUT/verify-8b-cublas.json" +%F)"
        quote "$OUT"/verify-*.txt -- '^\$|^golden|^ours  |^(PASS|FAIL)  [0-9]'
        echo "Every boundary of the golden with the most rows:"
        quote "$OUT/verify-0.6b-cublas.txt" -- '^\$|^ +-|^boundary|^model\.|^lm_head|^next_token'
        echo "Greedy tokens, coherence prompts, a planted fault and compute-sanitizer:"
        quote "$OUT"/{generate,coherence,fault}.txt "$OUT"/sanitize-*.txt -- '^\$|equal|DIFFERENT|^(PASS|FAIL)  [0-9]|SUMMARY'
        echo "The tests that need a card:"
        quote "$OUT"/test-*.txt -- '^\$|Checks:|^[0-9]+ differ'
    } >"$to/verify-cuda-h200.md"
    {
        echo "# The CPU backend against PyTorch on an H200, $(date -u -r "$OUT/twin-0.6b-4-avx512.json" +%F)"
        quote "$OUT"/twin-*.txt -- '^\$|^golden|^ours  |^(PASS|FAIL)  [0-9]'
        echo "Every boundary of the golden with the most elements:"
        quote "$OUT/twin-0.6b-4-avx512.txt" -- '^\$|^ +-|^boundary|^model\.|^lm_head|^next_token'
        echo "What the capture found of cuBLAS's orders there:"
        quote "$OUT"/capture-{hidden-320,untied-512,0.6b-4}.txt -- '^\$|^attention|^linear'
    } >"$to/verify-cpu-h200.md"
    {
        echo "# The reference plan beside PyTorch, $(date -u -r "$OUT/bench-0.6b.json" +%F)"
        for file in "$OUT"/bench-*.txt; do quote "$file" -- -v 'Loading weights|[Ww]arn|^(decode|prefill) .* ms$|^tokens, eager:'; done
    } >"$to/bench-h200.md"
}

for step in "$@"; do
    case $step in
    tests | tiny | orders | shapes | lengths | twin | generate | sanitize | profile | bench | probe | publish) "$step" ;;
    *) echo "on_card.sh: there is no step '$step'" >&2; exit 2 ;;
    esac
done
exit $FAILED
