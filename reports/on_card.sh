#!/usr/bin/env bash
# Measures on a card what stands in reports/published, with public tools alone: PyTorch and transformers as in
# golden/requirements.txt, Nsight Compute and compute-sanitizer of the CUDA toolkit.
#   usage: reports/on_card.sh OUT STEP...      steps: tests tiny orders shapes fused faults lengths twin generate sanitize
#                                                          sanitize_fused profile bench fused_bench pieces nodes dependencies
#                                                          cascade repeats gate probe publish
# `publish` turns what the other steps left in OUT into reports/published, on any machine; what they did not leave stays.
# `pieces` is to follow `fused_bench` in one call, so that ours and PyTorch's times are of the same card.
# PROGRAM and TESTS name the built program and the folder of the built tests; WORK is a folder with room for 30 GB.
# SHAPES, FUSED, TWINS, CONTINUED and BENCHES choose the models of a step, so that it can be split: a line each.
# Ends with 1 if a step failed, with 2 for a step that does not exist.
set -uo pipefail
OUT=$(realpath -m "$1")
shift
cd "$(dirname "$0")/.." || exit
FAILED=0
PROGRAM=${PROGRAM:-build/qwen3-parity}
TESTS=${TESTS:-build/tests}
WORK=${WORK:-$(mktemp -d)}
TINY="--model golden/qwen3-tiny --golden golden/qwen3-tiny.h5"
OURS="--impl linear=contract --impl scores=contract --impl context=contract"
declare -A VERIFIED=([cublas]="" [contract]="$OURS" [fused]="--plan fused")
BENCHES=${BENCHES:-0.6b qwen3-0.6b 28
8b qwen3-8b 36}
CARD=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1)
mkdir -p "$OUT" "$WORK"

# Runs a command, keeps it and the card with its output in a file of OUT, and prints the last lines.
keep() {
    local file=$1 lines=$2
    shift 2
    local start=$SECONDS
    printf '$ %s\ncard    %s\n' "$*" "${CARD:-none}" >"$OUT/$file"
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

parity() { # NAME PROMPTS KIND...: captures the random model of this name, and verifies each kind of VERIFIED
    local kind
    keep "capture-$1.txt" 2 python3 golden/capture.py "$WORK/$1" --prompts "golden/$2" --compression 0 --samples 2048 \
        --output "$WORK/$1.h5" --force
    for kind in "${@:3}"; do
        # shellcheck disable=SC2086 # a list of options
        keep "verify-$1-$kind.txt" 2 "$PROGRAM" verify --backend cuda --model "$WORK/$1" --golden "$WORK/$1.h5" \
            ${VERIFIED[$kind]} --json "$OUT/verify-$1-$kind.json"
    done
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
        parity "$name" prompts_shapes.json cublas contract
    done <<<"${SHAPES:-0.6b qwen3-0.6b 3
8b qwen3-8b 1}"
}

# Fused plans: the embedded golden, and models of the released shapes.
fused() {
    keep verify-tiny-fused.txt 2 "$PROGRAM" verify --backend cuda $TINY --plan fused --json "$OUT/verify-tiny-fused.json"
    keep coherence-fused.txt 2 "$PROGRAM" coherence --backend cuda --plan fused --model golden/qwen3-tiny \
        --prompts golden/coherence.json
    while read -r name shape layers; do
        random_model "$name" --shape "$shape" --layers "$layers"
        parity "$name" prompts_fused.json fused
    done <<<"${FUSED:-0.6b qwen3-0.6b 3
1.7b qwen3-1.7b 2
4b qwen3-4b 1
8b qwen3-8b 1}"
}

# The planted faults of the fused operations.
fused_faults() {
    "$PROGRAM" list | awk '/^[a-z]/ { fused = 0 } /^  --fuse:/ { fused = 1 } /^  --fault:/ && fused { sub(":", "", $2); print $2 }'
}

# Each of them has to fail on the embedded golden, but two that need equal logits, or nearly: it has none. For these
# check_operations has cases.
faults() {
    local fault output code planted=0
    while read -r fault; do
        case $fault in argmax-in-f32 | last-of-equals) continue ;; esac
        planted=$((planted + 1))
        echo "\$ $PROGRAM verify --backend cuda $TINY --plan fused --fault $fault"
        code=0
        # shellcheck disable=SC2086 # a list of options
        output=$("$PROGRAM" verify --backend cuda $TINY --plan fused --fault "$fault" 2>&1 </dev/null) || code=$?
        tail -n 1 <<<"$output"
        [ $code = 1 ] && echo "exit code 1" || echo "exit code $code: NOT FOUND"
    done < <(fused_faults) >"$OUT/faults.txt"
    { echo "$planted faults planted"; echo "card    ${CARD:-none}"; } >>"$OUT/faults.txt"
    cat "$OUT/faults.txt"
    { [ $planted -gt 0 ] && ! grep -q "NOT FOUND" "$OUT/faults.txt"; } || FAILED=1
    keep operations.txt 1 "$TESTS/check_operations"
}

# Numbers of keys where PyTorch takes other kernels: odd ones in a prefill, and more than the shared memory holds.
lengths() {
    random_model odd --hidden 256 --heads 16 --kv-heads 8 --intermediate 768 --layers 2
    parity odd prompts_odd.json cublas contract fused
    random_model long --hidden 256 --heads 4 --kv-heads 2 --intermediate 768 --layers 1
    parity long prompts_long.json cublas contract fused
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

# Greedy tokens of a model, 128 of them: PyTorch's, and ours with each plan.
greedy() { # MODEL
    local prompt="The river of Corvashti is Yorvandis. What is the river of Corvashti?" name plan ours torch
    name=$(basename "$1")
    torch=$(python3 golden/generate_torch.py "$1" --prompt "$prompt" --max-tokens 128 2>/dev/null </dev/null)
    for plan in reference fused; do
        echo "\$ qwen3-parity generate --backend cuda --plan $plan and golden/generate_torch.py, --model $1 --prompt \"$prompt\" --max-tokens 128"
        ours=$("$PROGRAM" generate --backend cuda --plan $plan --model "$1" --prompt "$prompt" --max-tokens 128 --ids \
            --ignore-end </dev/null)
        [ "$ours" = "$torch" ] && [ "$(wc -w <<<"$ours")" = 128 ] && echo "$name, $plan: 128 tokens equal" ||
            echo "$name, $plan: DIFFERENT"
        echo "ours    $ours"
    done
    echo "PyTorch $torch"
}

generate() {
    {
        echo "card    ${CARD:-none}"
        greedy golden/qwen3-tiny
        while read -r name shape layers; do
            random_model "$name" --shape "$shape" --layers "$layers"
            greedy "$WORK/$name"
        done <<<"${CONTINUED:-0.6b-whole qwen3-0.6b 28
1.7b qwen3-1.7b 2
4b qwen3-4b 1
8b qwen3-8b 1}"
    } >"$OUT/generate.txt"
    cut -c1-120 "$OUT/generate.txt"
    ! grep -q DIFFERENT "$OUT/generate.txt" || FAILED=1
}

# initcheck would take cuBLAS's own reading of padding for ours, so it sees our kernels; a fused plan calls cuBLAS for
# more than 8 tokens at once, unless only attention is fused.
sanitize() {
    for tool in memcheck racecheck initcheck; do
        keep "sanitize-$tool.txt" 2 compute-sanitizer --error-exitcode 1 --tool "$tool" "$PROGRAM" verify --backend cuda $TINY $OURS
    done
    keep sanitize-memcheck-cublas.txt 2 compute-sanitizer --error-exitcode 1 --tool memcheck "$PROGRAM" verify --backend cuda $TINY
}

sanitize_fused() {
    keep sanitize-memcheck-fused.txt 2 compute-sanitizer --error-exitcode 1 --tool memcheck "$PROGRAM" verify --backend cuda $TINY --plan fused
    for tool in racecheck initcheck; do
        keep "sanitize-$tool-fused-attention.txt" 2 compute-sanitizer --error-exitcode 1 --tool "$tool" "$PROGRAM" verify --backend cuda $TINY \
            --fuse gqa_attention --impl linear=contract
        keep "sanitize-$tool-fused.txt" 2 compute-sanitizer --error-exitcode 1 --tool "$tool" "$PROGRAM" generate --backend cuda --plan fused \
            --model golden/qwen3-tiny --prompt "The river of" --max-tokens 12 --ignore-end
    done
}

profile() {
    keep profile-ncu.txt 12 ncu --nvtx --nvtx-include "qwen3-parity@decode/model.layers.2.self_attn.q_norm" \
        --section SpeedOfLight --print-nvtx-rename none "$PROGRAM" generate --backend cuda --model golden/qwen3-tiny \
        --prompt "The capital" --max-tokens 2
    keep profile-ncu-bench.txt 12 ncu --nvtx --nvtx-include "qwen3-parity@model.layers.2.self_attn.q_norm/" \
        --profile-from-start off --section SpeedOfLight --print-nvtx-rename none "$PROGRAM" bench --backend cuda --profile \
        --model golden/qwen3-tiny
}

bench_plan() { # PLAN PREFIX
    while read -r name shape layers; do
        random_model "$name-bench" --shape "$shape" --layers "$layers" --vocabulary 151936
        keep "$2-$name.txt" 14 "$PROGRAM" bench --backend cuda --plan "$1" --model "$WORK/$name-bench" --json "$OUT/$2-$name.json"
        keep "$2-$name-torch.txt" 70 python3 golden/bench_torch.py "$WORK/$name-bench" --prompt-tokens 128 --prefill 512 \
            --steps 32 --repeats 2 --ours "$OUT/$2-$name.json" --output "$OUT/$2-$name-torch.json"
        rm -r "$WORK/$name-bench"
    done <<<"$BENCHES"
}

bench() { bench_plan reference bench; }

fused_bench() { bench_plan fused bench-fused; }

# Single fused kernels beside PyTorch's: rmsnorm_qkv of one token, and attention by the number of keys.
pieces() {
    local name shape layers piece ours
    while read -r name shape layers; do
        ours=()
        [ -e "$OUT/bench-fused-$name.json" ] && ours+=("$OUT/bench-fused-$name.json")
        while read -ra piece; do
            keep "bench-fused-$name-${piece[0]}.txt" 9 "$PROGRAM" bench --backend cuda --plan fused --shape "$shape" \
                "${piece[@]:1}" --json "$OUT/bench-fused-$name-${piece[0]}.json"
            ours+=("$OUT/bench-fused-$name-${piece[0]}.json")
        done <<<"qkv --phase decode --only *rmsnorm_qkv
decode-1024 --layers 1 --phase decode --context 1023 --only *gqa_attention
decode-4096 --layers 1 --phase decode --context 4095 --only *gqa_attention
decode-32768 --layers 1 --phase decode --context 32767 --only *gqa_attention
prefill-512 --layers 1 --phase prefill --prefill 512 --only *gqa_attention
prefill-4096 --layers 1 --phase prefill --prefill 4096 --only *gqa_attention"
        keep "bench-fused-$name-pieces.txt" 40 python3 golden/bench_pieces_torch.py --shape "$shape" --keys 1024 4096 32768 \
            --prefill 512 4096 --ours "${ours[@]}" --output "$OUT/bench-fused-$name-pieces.json"
    done <<<"$BENCHES"
}

# Each fused operation of a decode step, all layers of it, recorded and replayed one behind the other.
nodes() {
    local name shape layers operation
    while read -r name shape layers; do
        for operation in rmsnorm_qkv gqa_attention o_residual rmsnorm_gate_up_silu down_residual; do
            keep "nodes-$name-$operation.txt" 9 "$PROGRAM" bench --backend cuda --plan fused --shape "$shape" --phase decode \
                --only "*$operation"
        done
    done <<<"$BENCHES"
}

# What a kernel that needs the one before it costs, and a block of a chain.
dependencies() { keep dependencies.txt 10 "$TESTS/bench_dependencies_gpu"; }

# cascade_attention beside attention sequence by sequence, compared and timed: 64 tokens of each sequence's own leave a
# number of keys for which cuBLAS takes the tensor core, 61 one for which it does not.
cascade() {
    local own
    for own in 64 61; do keep "cascade-$own.txt" 12 "$TESTS/bench_cascade_gpu" "$own"; done
}

# The same measurement three times: how much times differ by themselves.
repeats() {
    local i
    for i in 1 2 3; do
        keep "repeat-0.6b-$i.txt" 3 "$PROGRAM" bench --backend cuda --plan fused --shape qwen3-0.6b --phase decode \
            --json "$OUT/repeat-0.6b-$i.json"
        keep "repeat-tiny-$i.txt" 3 "$PROGRAM" bench --backend cuda --golden embedded --json "$OUT/repeat-tiny-$i.json"
    done
}

# The gate of examples/ci for a card: with a baseline of the same program, and with one twice as fast.
gate() {
    local folder=$WORK/gate
    mkdir -p "$folder"
    cp examples/ci/gate-gpu.json "$folder/gate-gpu.json"
    "$PROGRAM" bench --backend cuda --plan fused --json "$folder/baseline.json" >"$OUT/gate-baseline.txt" || FAILED=1
    keep gate.txt 8 exits_with 0 "$PROGRAM" verify --gate "$folder/gate-gpu.json" --report "$OUT/gate"
    python3 -c 'import re, sys
path = sys.argv[1]
text = open(path).read()
text = re.sub(r"(?<=_ns\":\t)[0-9.e+]+", lambda time: str(float(time.group()) / 2), text)
open(path, "w").write(text)' "$folder/baseline.json"
    keep gate-slower.txt 8 exits_with 4 "$PROGRAM" verify --gate "$folder/gate-gpu.json" --run fused --report "$OUT/gate"
}

# ---- publishing ----

# The card that a file of OUT names, as the published files' names have it: h200.
card_of() {
    local card
    card=$(grep -oE 'NVIDIA [A-Z]+[0-9]+' "$1" | head -n 1)
    [ -n "$card" ] && tr '[:upper:]' '[:lower:]' <<<"${card#NVIDIA }"
}

# What a function prints, as a file named after the card; nothing if the step that leaves the file LEAD has not run.
part() { # NAME ENDING LEAD COMMAND...
    local lead=$OUT/$3 card
    if [ ! -e "$lead" ]; then
        echo "publish: $1 stays as it is, since OUT has no $3"
    elif ! card=$(card_of "$lead"); then
        echo "publish: $3 names no card" >&2
        FAILED=1
    else
        "${@:4}" "$lead" >"reports/published/$1-$card.$2" || FAILED=1
    fi
}

title() { # TEXT FILE
    echo "# $1, $(grep -oE 'NVIDIA [A-Z]+[0-9]+' "$2" | head -n 1), $(date -u -r "$2" +%F)"
}

boundaries() { # FILE
    quote "$1" -- '^\$|^ +-|^boundary|^model\.|^lm_head|^next_token|^inside fused|^ +model\.'
}

publish_verify_cuda() { # LEAD
    title "The CUDA backend against PyTorch" "$1"
    quote "$OUT"/verify-*-{cublas,contract}.txt -- '^\$|^golden|^ours  |^(PASS|FAIL)  [0-9]'
    echo "Every boundary of the golden with the most rows:"
    boundaries "$OUT/verify-0.6b-cublas.txt"
    echo "Greedy tokens, coherence prompts, a planted fault and compute-sanitizer:"
    quote "$OUT"/{generate,coherence,fault}.txt "$OUT"/sanitize-{memcheck,racecheck,initcheck,memcheck-cublas}.txt -- \
        '^\$|equal|DIFFERENT|^(PASS|FAIL)  [0-9]|SUMMARY'
    echo "The tests that need a card:"
    quote "$OUT"/test-*.txt -- '^\$|Checks:|^[0-9]+ differ'
}

publish_verify_fused() { # LEAD
    title "Fused plans against PyTorch" "$1"
    quote "$OUT"/verify-*-fused.txt -- '^\$|^golden|^ours  |^(PASS|FAIL)  [0-9]'
    echo "Every boundary of the golden with the most rows:"
    boundaries "$OUT/verify-0.6b-fused.txt"
    echo "Greedy tokens and coherence prompts:"
    quote "$OUT"/{generate,coherence-fused}.txt -- '^\$|equal|DIFFERENT|^(PASS|FAIL)  [0-9]'
    echo "Planted faults of the fused operations:"
    quote "$OUT"/{faults,operations}.txt -- '^\$|^(PASS|FAIL)  [0-9]|^exit code|planted|Checks:'
    if [ -e "$OUT/test-operations_gpu.txt" ]; then
        echo "Every implementation of every operation against the contract on the CPU:"
        quote "$OUT/test-operations_gpu.txt" -- '^\$|Checks:'
    fi
    if [ -e "$OUT/sanitize-memcheck-fused.txt" ]; then
        echo "compute-sanitizer:"
        quote "$OUT"/sanitize-*-fused*.txt -- '^\$|^(PASS|FAIL)  [0-9]|SUMMARY'
    fi
}

publish_verify_cpu() { # LEAD
    title "The CPU backend against PyTorch" "$1"
    quote "$OUT"/twin-*.txt -- '^\$|^golden|^ours  |^(PASS|FAIL)  [0-9]'
    echo "Every boundary of the golden with the most elements:"
    boundaries "$OUT/twin-0.6b-4-avx512.txt"
    echo "What the capture found of cuBLAS's orders there:"
    quote "$OUT"/capture-{hidden-320,untied-512,0.6b-4}.txt -- '^\$|^attention|^linear'
}

publish_bench() { # TEXT FILE... LEAD
    local file
    title "$1" "${@: -1}"
    for file in "${@:2:$#-2}"; do
        quote "$file" -- -v 'Loading weights|[Ww]arn|^(decode|prefill|qkv).* (ms|us)$|^tokens, eager:'
    done
}

# The steps of `nodes` stand behind it.
publish_dependencies() { # LEAD
    cat "$1"
    grep -hE '^\$|^pass|^decode_nodes +[0-9]' "$OUT"/nodes-*.txt
}

# Each pair of the repeats, by two factors; before them the passes of each, by both clocks.
publish_repeats() {
    local model factor old new
    for model in 0.6b tiny; do
        for old in 1 2 3; do
            echo "\$ report repeat-$model-$old.json"
            "$PROGRAM" report "$OUT/repeat-$model-$old.json" | grep -E '^(pass +context|(prefill|decode_[a-z]+) +[0-9])'
        done
        for factor in 1.05 1.1; do
            for old in 1 2 3; do
                for new in 1 2 3; do
                    [ "$old" != "$new" ] || continue
                    echo "\$ compare --max-slow-down $factor repeat-$model-$old.json repeat-$model-$new.json"
                    "$PROGRAM" compare --max-slow-down "$factor" "$OUT/repeat-$model-$old.json" \
                        "$OUT/repeat-$model-$new.json" | tail -n 1
                done
            done
        done
    done
}

publish_profile() { sed -E 's#\(/[^)]*/([^/)]*)\)#(\1)#' "$OUT"/profile-ncu*.txt; }

# What each run said last, behind its command; the JSON files have the rest.
publish() {
    local file
    for file in "$OUT"/{verify,bench}-*.json; do
        [ ! -e "$file" ] || part "$(basename "$file" .json)" json.gz "$(basename "$file")" gzip -9nc
    done
    part attention-order txt attention-order.txt grep -v -i warn
    part block-fma txt test-block_fma_gpu.txt cat
    part special txt test-special_gpu.txt cat
    part probe txt probe.txt cat
    part profile-ncu txt profile-ncu.txt publish_profile
    part cascade txt cascade-64.txt cat "$OUT"/cascade-61.txt
    part compare txt repeat-0.6b-1.json publish_repeats
    part gate txt gate-slower.txt cat "$OUT"/gate.txt
    part dependencies txt dependencies.txt publish_dependencies
    part verify-cuda md verify-8b-cublas.txt publish_verify_cuda
    part verify-fused md verify-0.6b-fused.txt publish_verify_fused
    part verify-cpu md twin-0.6b-4-avx512.txt publish_verify_cpu
    part bench md bench-8b.txt publish_bench "The reference plan beside PyTorch" "$OUT"/bench-[0-9]*.txt
    part bench-fused md bench-fused-8b.txt publish_bench "Fused plans beside PyTorch" \
        "$OUT"/bench-fused-*b{,-torch,-pieces}.txt
}

for step in "$@"; do
    case $step in
    tests | tiny | orders | shapes | fused | faults | lengths | twin | generate | sanitize | sanitize_fused | profile | bench | \
        fused_bench | pieces | nodes | dependencies | cascade | repeats | gate | probe | publish) "$step" ;;
    *) echo "on_card.sh: there is no step '$step'" >&2; exit 2 ;;
    esac
done
exit $FAILED
