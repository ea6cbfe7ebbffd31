#!/usr/bin/env python3
"""How fast PyTorch runs a Qwen3: decode steps and a prefill, eager, with SDPA and compiled, in bf16 with one sequence.

A decode step is the model with one token and the choice of the next; a prefill is N tokens and the choice of the first.
Three times of each, medians with quartiles:
  stream   from CUDA event to CUDA event, the steps following one another without a wait: what a token takes. Where the
           host launches more slowly than the card computes, this is the host's time;
  wall     of the host's clock, with a wait for the card after each step;
  kernels  the sum of the kernels' own times in the step, from the profiler: what the card is busy.
`compiled` is torch.compile(mode="reduce-overhead"), which replays a CUDA graph, with a StaticCache of just the tokens
that are needed. The other rows have a DynamicCache.

The table of modules holds the kernels' times of an eager step, each kernel counted for the innermost of these: a module,
or one of the functions `attention` (scores, softmax and context, with the copies of keys and values for the heads that
share them), `rope`, `cache`. What a layer itself does is `residuals`, its attention `copies`, its MLP `product`, the model
`mask`. On a CPU all times are those of the host's clock.

--ours FILE prints the times of `qwen3-parity bench --json FILE` beside PyTorch's. Exit codes: 0 done, 2 usage, 3 a file,
the model or the environment is not usable, 4 a logit is not finite.
"""

import argparse
import bisect
import contextlib
import datetime
import json
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from capture import Unusable, environment, exit_code_of, say
from generate_torch import load

SCHEMA = "qwen3-parity-bench-torch/1"
DECODE = {"eager": "eager", "sdpa": "sdpa", "compiled": "eager", "compiled-sdpa": "sdpa"}  # the attention of each
PREFILL = ("eager", "sdpa")
MARK = "qp:"
WARM_UP = 4


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a Qwen3 checkpoint, or its name on the Hugging Face hub")
    parser.add_argument("--prompt-tokens", type=int, default=128, metavar="N", help="tokens in the cache before the first step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=64, metavar="N", help="decode steps after each other (default: %(default)s)")
    parser.add_argument("--prefill", type=int, default=512, metavar="N", help="tokens of the prefill (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="runs of all steps, and prefills (default: %(default)s)")
    parser.add_argument("--profiled", type=int, default=5, metavar="N", help="decode steps to profile (default: %(default)s)")
    parser.add_argument("--decode", nargs="*", choices=DECODE, default=["eager", "sdpa", "compiled"], help="what to time (default: eager sdpa compiled)")
    parser.add_argument("--device", help="cuda, cuda:N or cpu (default: cuda if there is one, else cpu)")
    parser.add_argument("--seed", type=int, default=1, help="of the prompt's random tokens (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON file to write")
    parser.add_argument("--ours", type=Path, metavar="FILE", help="JSON of qwen3-parity bench, to print beside PyTorch's times")
    options = parser.parse_args(argv)
    for name in ("prompt_tokens", "steps", "prefill", "repeats", "profiled"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    return options


def summary(samples):
    """Median and quartiles in nanoseconds."""
    ordered = sorted(samples)
    quartiles = statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else ordered * 3
    return {"median_ns": round(quartiles[1]), "q1_ns": round(quartiles[0]), "q3_ns": round(quartiles[2]), "samples": len(ordered)}


class Clock:
    """Points in time: events of the card's stream, or of the host's clock where there is no card."""

    def __init__(self, device):
        self.cuda = device.type == "cuda"

    def mark(self):
        import torch

        if not self.cuda:
            return time.perf_counter_ns()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def wait(self):
        import torch

        if self.cuda:
            torch.cuda.synchronize()

    def between(self, marks):
        """Nanoseconds from each mark to the next."""
        self.wait()
        return [first.elapsed_time(second) * 1e6 if self.cuda else second - first for first, second in zip(marks, marks[1:])]


# ---- steps ---------------------------------------------------------------------------------------------------------

class Runner:
    """Steps of one model with one kind of attention and of cache."""

    def __init__(self, model, device, attention, compiled, room):
        import torch
        from transformers import StaticCache

        self.model, self.device, self.compiled = model, device, compiled
        model.set_attn_implementation(attention)
        torch._dynamo.reset()
        self.static = StaticCache(config=model.config, max_cache_len=room) if compiled else None
        self.fast = torch.compile(self.forward, mode="reduce-overhead", fullgraph=True) if compiled else self.forward

    def forward(self, ids, cache):
        import torch

        logits = self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        with torch.profiler.record_function(MARK + "next_token") if not self.compiled else contextlib.nullcontext():
            return logits[:, -1].argmax(-1, keepdim=True)

    def prefill(self, ids):
        """The cache after the ids, and the token that follows."""
        from transformers import DynamicCache

        if self.static:
            self.static.reset()
        cache = self.static or DynamicCache(config=self.model.config)
        return cache, self.forward(ids, cache)

    def step(self, token, cache):
        import torch

        if not self.compiled:
            return self.forward(token, cache)
        torch.compiler.cudagraph_mark_step_begin()
        return self.fast(token, cache).clone()  # the graph's own output lives until the next replay


def time_decode(runner, ids, steps, repeats, clock):
    """Times of the steps, in the stream and on the wall, and the tokens of a greedy continuation."""
    stream, wall, tokens = [], [], []
    cache, token = runner.prefill(ids)
    for _ in range(min(steps, WARM_UP)):  # compiles, records the graph, fills the allocator
        token = runner.step(token, cache)
    for _ in range(repeats):
        cache, token = runner.prefill(ids)
        clock.wait()
        marks, tokens = [clock.mark()], [token]
        for _ in range(steps):
            token = runner.step(token, cache)
            marks.append(clock.mark())
            tokens.append(token)
        stream += clock.between(marks)
        cache, token = runner.prefill(ids)
        clock.wait()
        for _ in range(steps):
            start = time.perf_counter_ns()
            token = runner.step(token, cache)
            clock.wait()
            wall.append(time.perf_counter_ns() - start)
    return stream, wall, [int(token) for token in tokens]


def time_prefill(runner, ids, repeats, clock):
    stream, wall = [], []
    for number in range(repeats + 1):
        clock.wait()
        start, marks = time.perf_counter_ns(), [clock.mark()]
        runner.prefill(ids)
        marks.append(clock.mark())
        clock.wait()
        if number:  # the first one warms up
            wall.append(time.perf_counter_ns() - start)
            stream += clock.between(marks)
    return stream, wall


# ---- modules -------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def ranges(model):
    """A range of the profiler around every module and around the functions that are none, for as long as the context lasts."""
    import torch
    from transformers.models.qwen3 import modeling_qwen3 as source
    from transformers.cache_utils import Cache

    handles, opened, layer = [], [], [""]

    def open_range(key):
        opened.append(torch.profiler.record_function(MARK + key))
        opened[-1].__enter__()

    def close_range():
        opened.pop().__exit__(None, None, None)

    for name, module in model.named_modules():
        key = re.sub(r"\.act_fn$", ".act", name)
        if not key:
            continue

        def enter(*_, key=key):
            if key.endswith(".self_attn"):
                layer[0] = key
            open_range(key)
        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(lambda *_: close_range()))

    def wrapped(function, key):
        def call(*arguments, **names):
            open_range(layer[0] + key)
            try:
                return function(*arguments, **names)
            finally:
                close_range()
        return call

    kept = source.apply_rotary_pos_emb, source.eager_attention_forward, Cache.update
    source.apply_rotary_pos_emb = wrapped(kept[0], ".rope")
    source.eager_attention_forward = wrapped(kept[1], ".attention")
    Cache.update = wrapped(kept[2], ".cache")
    try:
        yield
    finally:
        source.apply_rotary_pos_emb, source.eager_attention_forward, Cache.update = kept
        for handle in handles:
            handle.remove()


def row_of(key):
    """The name under which the time of a range itself is listed, without that of the ranges inside it."""
    if re.fullmatch(r"model\.layers\.\d+", key):
        return key + ".residuals"
    return re.sub(r"\.mlp$", ".mlp.product", re.sub(r"\.self_attn$", ".self_attn.copies", {"model": "model.mask", "call": "other"}.get(key, key)))


def profile(work, count, cuda):
    """What each of `count` calls of work() spends: a list of dicts, row to nanoseconds, and the number of kernels of a call."""
    import torch

    activities = [torch.profiler.ProfilerActivity.CPU] + ([torch.profiler.ProfilerActivity.CUDA] if cuda else [])
    with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
        for _ in range(count):
            with torch.profiler.record_function(MARK + "call"):
                work()
            if cuda:
                torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    marks = sorted(((event["ts"], event["ts"] + event["dur"], event["name"][len(MARK):]) for event in events
                    if event.get("cat") == "user_annotation" and event["name"].startswith(MARK)), key=lambda mark: (mark[0], -mark[1]))
    starts = [start for start, _, key in marks if key == "call"]
    calls = [{} for _ in starts]
    kernels = 0

    def spend(moment, key, microseconds):
        row = row_of(key)
        call = calls[bisect.bisect_right(starts, moment) - 1]
        call[row] = call.get(row, 0) + microseconds * 1000

    if cuda:
        launches = {event["args"]["correlation"]: event["ts"] for event in events
                    if event.get("cat") in ("cuda_runtime", "cuda_driver") and "correlation" in event.get("args", {})}
        work_done = sorted((launches[event["args"]["correlation"]], event["dur"]) for event in events
                           if event.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset") and event["args"]["correlation"] in launches)
        kernels = len(work_done)
    else:
        work_done = None
    stack, place = [], 0
    changes = sorted([(start, 1, number) for number, (start, _, _) in enumerate(marks)]
                     + [(end, 0, -number) for number, (_, end, _) in enumerate(marks)])
    before = None
    for moment, opens, number in changes:
        if stack:
            if work_done is None:
                spend(before, marks[stack[-1]][2], moment - before)
            while work_done and place < len(work_done) and work_done[place][0] < moment:
                spend(work_done[place][0], marks[stack[-1]][2], work_done[place][1])
                place += 1
        if opens:
            stack.append(number)
        else:
            stack.remove(-number)
        before = moment
    return calls, kernels / max(1, len(calls))


def medians(calls):
    """Row to median nanoseconds over the calls."""
    rows = dict.fromkeys(row for call in calls for row in call)
    return {row: summary([call.get(row, 0) for call in calls]) for row in rows}


# ---- tables --------------------------------------------------------------------------------------------------------

def kind_of(row):
    """A row without the number of its layer."""
    return re.sub(r"model\.layers\.\d+\.", "", row)


def by_kind(rows):
    """Sums over the layers: kind to nanoseconds and rows."""
    kinds = {}
    for row, nanoseconds in rows.items():
        total, count = kinds.get(kind_of(row), (0, 0))
        kinds[kind_of(row)] = total + nanoseconds, count + 1
    return kinds


OURS = {"self_attn.scores": "self_attn.attention", "self_attn.probs": "self_attn.attention", "self_attn.context": "self_attn.attention",
        "self_attn.q_rope": "self_attn.rope", "self_attn.k_rope": "self_attn.rope", "residual_attn": "residuals",
        "model.rotary_emb.cos": "model.rotary_emb", "model.rotary_emb.sin": "model.rotary_emb", "model.rotary_emb.inv_freq": "model.rotary_emb"}

# The kinds that a fused node of ours stands for. A layer's two additions are one kind, and alike: each counts half of it.
FUSED = {"rmsnorm_qkv": ("input_layernorm", "self_attn.q_proj", "self_attn.q_norm", "self_attn.k_proj", "self_attn.k_norm", "self_attn.v_proj",
                         "self_attn.rope", "self_attn.cache"),
         "gqa_attention": ("self_attn.attention",),
         "o_residual": ("self_attn.o_proj", "residuals"),
         "rmsnorm_gate_up_silu": ("post_attention_layernorm", "mlp.gate_proj", "mlp.act", "mlp.up_proj", "mlp.product"),
         "down_residual": ("mlp.down_proj", "residuals"),
         "lm_head_argmax": ("model.norm", "lm_head", "next_token")}


def modules_of(row):
    """The modules that a row of our bench stands for: its nodes, `*` once for each layer."""
    stars = [node for node in row["nodes"] if "*" in node]
    layers = (row["count"] - (len(row["nodes"]) - len(stars))) // len(stars) if stars else 0
    for node in row["nodes"]:
        yield from (node.replace("*", str(layer)) for layer in range(layers)) if "*" in node else (node,)


def read_ours(path):
    """The times of our bench, {(phase, "plan, protocol"): {module: nanoseconds}}, and its steps."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = {}
        for row in content.get("rows", []):
            if "median_ns" not in row:
                continue
            times = rows.setdefault((row["phase"], f"{row['plan']}, {row['protocol']}"), {})
            for module in modules_of(row):
                times[module + (".residuals" if re.fullmatch(r"model\.layers\.\d+", module) else "")] = row["median_ns"]
        steps = []
        for step in content.get("steps", []):
            if "median_ns" in step:
                steps.append({"name": step["name"], "past": step["context"], "stream": step, "wall": step.get("wall")})
        return rows, steps
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unusable(f"{path} is not a file of qwen3-parity bench --json: {type(error).__name__} {error}") from error


def milliseconds(times):
    return f"{times['median_ns'] / 1e6:9.3f} ({times['q1_ns'] / 1e6:.3f} to {times['q3_ns'] / 1e6:.3f})" if times else "-"


def fuse(theirs, fused):
    """PyTorch's kinds, with one sum in the place of those that a fused node of ours stands for."""
    left, sums = dict(theirs), {}
    for kind in fused:
        parts = [(part, theirs[part]) for part in FUSED[kind] if part in theirs]
        total = sum(nanoseconds / 2 if part == "residuals" else nanoseconds for part, (nanoseconds, _) in parts)
        if parts:
            sums[parts[0][0]] = kind, (total, parts[0][1][1])
        for part, _ in parts:
            if part != "residuals" or {"o_residual", "down_residual"} <= fused:
                left[part] = None
            else:
                left[part] = theirs[part][0] / 2, theirs[part][1]
    rows = {}
    for kind, spent in left.items():  # a sum stands where the first of its parts stood
        if kind in sums:
            rows.update([sums[kind]])
        elif spent:
            rows[kind] = spent
    return rows


def print_ratios(steps, ours):
    """How many times as fast our recorded step is as PyTorch's compiled ones after as many tokens."""
    for mine in ours:
        for step in steps:
            if mine["name"] != "decode_graph" or not step["name"].startswith("decode compiled") or step["past"] != mine["past"]:
                continue
            ratios = [f"{step[clock]['median_ns'] / mine[clock]['median_ns']:.2f} times as fast by {clock}" for clock in ("stream", "wall") if mine[clock]]
            print(f"ours {mine['name']} beside PyTorch {step['name']}, after {step['past']} tokens: {', '.join(ratios)}")


def print_steps(steps, ours):
    print(f"\n{'step, in ms: median (quartiles)':34} {'stream':>30} {'wall':>30} {'kernels':>30} {'launched':>9}")
    for step in steps:
        print(f"{'PyTorch ' + step['name']:34} {milliseconds(step['stream']):>30} {milliseconds(step['wall']):>30} "
              f"{milliseconds(step['kernels']):>30} {step['launched'] or '-':>9}")
    for step in ours:
        print(f"{'ours ' + step['name']:34} {milliseconds(step['stream']):>30} {milliseconds(step['wall']):>30}")
    print_ratios(steps, ours)


def print_modules(phase, rows, ours):
    """PyTorch's and our times by kind of row, summed over the layers."""
    theirs = by_kind({row: times["median_ns"] for row, times in rows.items()})
    columns = {label: {} for place, label in ours if place == phase}
    for label, found in columns.items():
        for kind, (total, _) in by_kind(ours[phase, label]).items():
            kind = OURS.get(kind, kind)
            found[kind] = found.get(kind, 0) + total
    theirs = fuse(theirs, set(FUSED).intersection(*columns.values()) if columns else set())
    everything = sum(total for total, _ in theirs.values()) or 1
    heading = " ".join(f"{label:>20}" for label in columns)
    print(f"\n{phase + ', in us, all layers':36} {'PyTorch eager':>14} {'share':>6} {heading}".rstrip())
    for kind in dict.fromkeys([*theirs, *(kind for found in columns.values() for kind in found)]):
        total, count = theirs.get(kind, (None, 0))
        mine = " ".join(f"{found[kind] / 1e3:20.1f}" if kind in found else f"{'-':>20}" for found in columns.values())
        label = kind + (f" x {count}" if count > 1 else "")
        shown = f"{total / 1e3:14.1f} {total / everything:6.1%}" if total is not None else f"{'-':>14} {'-':>6}"
        print(f"{label:36} {shown} {mine}".rstrip())
    totals = " ".join(f"{sum(found.values()) / 1e3:20.1f}" for found in columns.values())
    print(f"{'total':36} {everything / 1e3:14.1f} {'':6} {totals}".rstrip())


# ---- all of it -----------------------------------------------------------------------------------------------------

def bench(options):
    import torch

    ours, our_steps = read_ours(options.ours) if options.ours else ({}, [])
    model, device = load(options.model, options.device)
    clock, config = Clock(device), model.config
    generator = torch.Generator().manual_seed(options.seed)

    def random_ids(count):
        return torch.randint(config.vocab_size, (1, count), generator=generator).to(device)

    prompt, longer = random_ids(options.prompt_tokens), random_ids(options.prefill)
    room = options.prompt_tokens + options.steps + max(WARM_UP, options.profiled) + 1
    steps, modules, continuations = [], {}, {}

    def add(name, attention, stream, wall, calls, kernels, **more):
        busy = [sum(call.values()) for call in calls]
        steps.append({"name": name, "attention": attention, **more, "stream": summary(stream), "wall": summary(wall),
                      "kernels": summary(busy) if busy else None, "launched": round(kernels)})
        say(f"{name}: {milliseconds(steps[-1]['stream'])} ms")

    for name in options.decode:
        runner = Runner(model, device, DECODE[name], name.startswith("compiled"), room)
        stream, wall, continuations[name] = time_decode(runner, prompt, options.steps, options.repeats, clock)
        held = list(runner.prefill(prompt))

        def one():
            held[1] = runner.step(held[1], held[0])
        with ranges(model) if name == "eager" else contextlib.nullcontext():
            one()
            calls, kernels = profile(one, options.profiled, clock.cuda)
        if name == "eager":
            modules["decode"] = medians(calls)
        add(f"decode {name}", DECODE[name], stream, wall, calls, kernels, past=options.prompt_tokens, tokens=1, steps=options.steps)
    for name in PREFILL:
        runner = Runner(model, device, name, False, 0)
        stream, wall = time_prefill(runner, longer, options.repeats, clock)
        with ranges(model) if name == "eager" else contextlib.nullcontext():
            runner.prefill(longer)
            calls, kernels = profile(lambda: runner.prefill(longer), min(3, options.profiled), clock.cuda)
        if name == "eager":
            modules["prefill"] = medians(calls)
        add(f"prefill {options.prefill} {name}", name, stream, wall, calls, kernels, past=0, tokens=options.prefill, steps=1)

    result = {
        "schema": SCHEMA, "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "model": str(options.model),
        "environment": environment(torch, device), "parameters": sum(weight.numel() for weight in model.parameters()),
        "prompt_ids": prompt[0].tolist(), "prefill_ids": longer[0].tolist(), "continuations": continuations, "steps": steps,
        "rows": [{"key": f"{phase}/{row}", "implementation": "PyTorch eager", "protocol": "in-model", **times}
                 for phase, rows in modules.items() for row, times in rows.items()],
    }
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{options.model}: {result['parameters']:,} parameters, {result['environment']['device_name']}, PyTorch {torch.__version__}; "
          f"{options.steps} steps after {options.prompt_tokens} tokens, {options.repeats} times")
    print_steps(steps, our_steps)
    for phase, rows in modules.items():
        print_modules(phase, rows, ours)
    first = continuations.get("eager")
    for name, tokens in continuations.items():
        print(f"\ntokens, {name}: {' '.join(map(str, tokens))}" if name == "eager" or not first else
              f"tokens, {name}: the first {next((i for i, (a, b) in enumerate(zip(tokens, first)) if a != b), len(tokens))} of {len(tokens)} are those of eager")


def main(argv=None):
    options = parse(argv)
    return exit_code_of(lambda: bench(options))


if __name__ == "__main__":
    sys.exit(main())
