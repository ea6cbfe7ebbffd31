#!/usr/bin/env python3
"""How fast PyTorch does single pieces of a Qwen3 layer with cold caches, and how fast this machine reads memory.

The pieces have the sizes of a released model, random weights and no checkpoint, in bf16 with one sequence:
  qkv            from the residual stream to the cache, for one token: input_layernorm, q_proj, k_proj, v_proj, q_norm, k_norm,
                 the rotary embedding, and the append to a DynamicCache of --context keys; of transformers' own modules
  qkv-no-cache   the same without the append, which copies the whole cache
  decode-eager   transformers' eager attention of one query over N keys, with the mask that the model gives it
  decode-sdpa    torch's scaled_dot_product_attention of the same, with enable_gqa
  prefill-eager, prefill-sdpa   the same of N queries over N keys, causal

Before each sample a buffer of four times the L2 is filled several times over, which also hides the host. Two times of each,
medians with quartiles:
  graph    from CUDA event to CUDA event around one replay of a CUDA graph of the piece, so no gap is the host's; the events
           alone are as far apart as the table says, and nothing is subtracted;
  kernels  the sum of the kernels' own times, from the profiler, launched one by one: no gap at all.
On a CPU there is no graph, and both are times of the host's clock.

`read` is a sum over an f32 tensor, `copy` a copy of it: bytes a second, read, and read and written.

--ours FILE... takes JSON of `qwen3-parity bench` on the same machine, and prints how many times as fast as PyTorch's pieces
its cold rows of rmsnorm_qkv and gqa_attention of the same sizes are, and which share of `read` they and its decode steps reach.

Exit codes: 0 done, 2 usage, 3 a file, the model or the environment is not usable.
"""

import argparse
import datetime
import json
import sys
from pathlib import Path

from bench_torch import MARK, Clock, profile, summary
from capture import Unusable, environment, exit_code_of, say
from generate_torch import usable_device
from random_model import SHAPES

SCHEMA = "qwen3-parity-bench-pieces-torch/1"
HEAD = 128
WARM_UP = 3
FILLS = 4
L2_FACTOR = 4
CPU_FLUSH_BYTES = 64 << 20
PROFILED = 30


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-0.6b", help="the sizes of a released model (default: %(default)s)")
    parser.add_argument("--context", type=int, default=128, metavar="N", help="keys in the cache before qkv appends one (default: %(default)s)")
    parser.add_argument("--keys", type=int, nargs="*", default=[1024, 4096, 32768], metavar="N", help="of attention with one query (default: 1024 4096 32768)")
    parser.add_argument("--prefill", type=int, nargs="*", default=[512, 4096], metavar="N", help="tokens of causal attention (default: 512 4096)")
    parser.add_argument("--samples", type=int, default=50, metavar="N", help="of each time (default: %(default)s)")
    parser.add_argument("--device", help="cuda, cuda:N or cpu (default: cuda if there is one, else cpu)")
    parser.add_argument("--seed", type=int, default=1, help="of weights and inputs (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON file to write")
    parser.add_argument("--ours", type=Path, nargs="+", default=[], metavar="FILE", help="JSON of qwen3-parity bench, to print beside PyTorch's times")
    options = parser.parse_args(argv)
    for name in ("context", "samples"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    for name in ("keys", "prefill"):
        if min(getattr(options, name), default=1) < 1:
            parser.error(f"--{name} takes numbers of at least 1")
    return options


# ---- the pieces ----------------------------------------------------------------------------------------------------

class Pieces:
    """The work of each piece, on tensors that are made once."""

    def __init__(self, shape, device):
        import torch
        from transformers import Qwen3Config
        from transformers.models.qwen3 import modeling_qwen3 as source

        self.hidden, self.heads, self.kv_heads, inner, _, tied = SHAPES[shape]
        self.device, self.source = device, source
        self.config = Qwen3Config(
            hidden_size=self.hidden, num_attention_heads=self.heads, num_key_value_heads=self.kv_heads, head_dim=HEAD,
            intermediate_size=inner, num_hidden_layers=1, vocab_size=2048, tie_word_embeddings=tied, max_position_embeddings=40960,
            rms_norm_eps=1e-6, rope_parameters={"rope_type": "default", "rope_theta": 1e6}, attention_bias=False, dtype="bfloat16")
        with torch.device(device):
            self.norm = source.Qwen3RMSNorm(self.hidden, eps=self.config.rms_norm_eps).to(torch.bfloat16)
            self.attention = source.Qwen3Attention(self.config, 0).to(torch.bfloat16).eval()
            self.rotary = source.Qwen3RotaryEmbedding(self.config)

    def random(self, *sizes):
        import torch

        return torch.randn(sizes, dtype=torch.bfloat16, device=self.device)

    def qkv(self, context, append):
        """One token behind `context` keys."""
        import torch
        from transformers import DynamicCache

        x, attention = self.random(1, 1, self.hidden), self.attention
        cos, sin = self.rotary(x, torch.tensor([[context]], device=self.device))
        cache = DynamicCache(config=self.config)
        cache.update(self.random(1, self.kv_heads, context, HEAD), self.random(1, self.kv_heads, context, HEAD), 0)
        kept = cache.layers[0].keys, cache.layers[0].values

        def work():
            hidden = self.norm(x)
            heads = (1, 1, -1, HEAD)
            query = attention.q_norm(attention.q_proj(hidden).view(heads)).transpose(1, 2)
            key = attention.k_norm(attention.k_proj(hidden).view(heads)).transpose(1, 2)
            value = attention.v_proj(hidden).view(heads).transpose(1, 2)
            query, key = self.source.apply_rotary_pos_emb(query, key, cos, sin)
            if append:
                cache.layers[0].keys, cache.layers[0].values = kept  # so that each call appends the same one
                key, value = cache.update(key, value, 0)
            return query, key, value
        return work

    def over_keys(self, name, tokens, keys):
        """Attention of the last `tokens` of `keys` positions; eager or sdpa."""
        import torch

        query = self.random(1, tokens, self.heads, HEAD).transpose(1, 2)
        key, value = self.random(1, self.kv_heads, keys, HEAD), self.random(1, self.kv_heads, keys, HEAD)
        scaling = self.attention.scaling
        if name == "sdpa":
            sdpa = torch.nn.functional.scaled_dot_product_attention
            return lambda: sdpa(query, key, value, is_causal=tokens > 1, scale=scaling, enable_gqa=True)
        mask = torch.zeros(1, 1, tokens, keys, dtype=torch.bfloat16, device=self.device)
        if tokens > 1:
            mask += torch.full_like(mask, torch.finfo(torch.bfloat16).min).triu(keys - tokens + 1)
        return lambda: self.source.eager_attention_forward(self.attention, query, key, value, mask, scaling)


# ---- times ---------------------------------------------------------------------------------------------------------

class Bench:
    """Cold samples of work."""

    def __init__(self, device, samples):
        import torch

        self.device, self.samples, self.clock = device, samples, Clock(device)
        self.l2 = torch.cuda.get_device_properties(device).L2_cache_size if self.clock.cuda else 0
        self.flushed = torch.empty(L2_FACTOR * self.l2 or CPU_FLUSH_BYTES, dtype=torch.int8, device=device)

    def flush(self):
        for number in range(FILLS if self.clock.cuda else 1):
            self.flushed.fill_(number)

    def sample(self, work, cold=True):
        """Times from mark to mark around work()."""
        times = []
        for number in range(WARM_UP + self.samples):
            if cold:
                self.flush()
            marks = [self.clock.mark()]
            work()
            marks.append(self.clock.mark())
            if number >= WARM_UP:
                times += self.clock.between(marks)
        return summary(times)

    def graph_of(self, work):
        """What replays a CUDA graph of work(); on a CPU work itself."""
        import torch

        if not self.clock.cuda:
            return work
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay

    def kernels(self, work):
        """The sum of the kernels' own times, and how many there are."""
        import torch

        def call():
            self.flush()
            with torch.profiler.record_function(MARK + "piece"):
                work()
        call()
        calls, launched = profile(call, min(PROFILED, self.samples), self.clock.cuda)
        return summary([spent["piece"] for spent in calls]), round(launched) - FILLS if self.clock.cuda else None

    def bandwidth(self):
        """Bytes a second of a sum and of a copy."""
        import torch

        elements = 1 << (30 if self.clock.cuda else 24)
        source = torch.ones(elements, dtype=torch.float32, device=self.device)
        target = torch.empty_like(source)
        found = {}
        for name, work, touched in (("read", source.sum, 1), ("copy", lambda: target.copy_(source), 2)):
            times = self.sample(work, cold=False)
            bytes_touched = 4 * elements * touched
            found[name] = {"bytes": bytes_touched, **times, "bytes_per_second": bytes_touched / times["median_ns"] * 1e9}
        return found


# ---- ours ----------------------------------------------------------------------------------------------------------

def same_work(row):
    """What a row of our bench computes, as the pieces name it, or None."""
    size = row["extents"]
    if row["operation"] == "rmsnorm_qkv" and size["T"] == 1:
        return "qkv", 1, None, size["H"], size["Hq"], size["Hkv"]
    if row["operation"] == "gqa_attention":
        return "decode" if size["T"] == 1 else "prefill", size["T"], size["S"], None, size["Hq"], size["Hkv"]
    return None


def read_ours(paths):
    """Cold rows by their work, of the first file that has it, and the decode steps of our bench."""
    rows, steps = {}, []
    for path in paths:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            card = content["environment"]["device"]
            for row in content["rows"]:
                if row["protocol"] == "cold" and "median_ns" in row and same_work(row):
                    rows.setdefault(same_work(row), {**row, "card": card})
            steps += [{**step, "card": card} for step in content["steps"] if step["tokens"] == 1 and "median_ns" in step]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unusable(f"{path} is not a file of qwen3-parity bench --json: {type(error).__name__} {error}") from error
    return rows, steps


def microseconds(times):
    return f"{times['median_ns'] / 1e3:9.2f} ({times['q1_ns'] / 1e3:.2f} to {times['q3_ns'] / 1e3:.2f})"


def print_pieces(rows):
    print(f"\n{'PyTorch, cold, in us: median (quartiles)':46} {'graph':>32} {'kernels':>32} {'launched':>9}")
    for row in rows:
        print(f"{row['name']:46} {microseconds(row['graph']):>32} {microseconds(row['kernels']):>32} {row['launched'] or '-':>9}")


def print_ratios(rows, ours, read):
    print(f"\n{'ours, cold, in us':46} {'median (quartiles)':>32} {'of read':>8}   times as fast as PyTorch's, graph and kernels")
    for row in rows:
        if row["work"] not in ours:
            continue
        mine = ours[row["work"]]
        share = mine["bytes"] / mine["median_ns"] * 1e9 / read
        print(f"{mine['key'] + ', ' + mine['plan']:46} {microseconds(mine):>32} {share:8.1%}   {row['name']}: "
              f"{row['graph']['median_ns'] / mine['median_ns']:.2f} and {row['kernels']['median_ns'] / mine['median_ns']:.2f}")


def print_steps(steps, read):
    print(f"\n{'ours, in us':46} {'median (quartiles)':>32} {'of read':>8}")
    for step in steps:
        share = step["bytes"] / step["median_ns"] * 1e9 / read
        print(f"{step['name'] + ' after ' + str(step['context']) + ', ' + step['plan']:46} {microseconds(step):>32} {share:8.1%}")


# ---- all of it -----------------------------------------------------------------------------------------------------

def works(options, pieces):
    """The pieces: name, the work as same_work() names it, and what makes a function of it."""
    qkv = "qkv", 1, None, pieces.hidden, pieces.heads, pieces.kv_heads
    yield f"qkv after {options.context}", qkv, lambda: pieces.qkv(options.context, True)
    yield "qkv-no-cache", qkv, lambda: pieces.qkv(options.context, False)
    for phase, sizes in (("decode", [(1, keys) for keys in options.keys]), ("prefill", [(tokens, tokens) for tokens in options.prefill])):
        for tokens, keys in sizes:
            for name in ("eager", "sdpa"):
                work = phase, tokens, keys, None, pieces.heads, pieces.kv_heads
                yield f"{phase}-{name} {keys}", work, lambda name=name, size=(tokens, keys): pieces.over_keys(name, *size)


def bench(options):
    import torch

    ours, our_steps = read_ours(options.ours)
    device = usable_device(options.device)
    torch.set_grad_enabled(False)
    torch.manual_seed(options.seed)
    found = environment(torch, device)
    others = {timed["card"] for timed in [*ours.values(), *our_steps]} - {found["device_name"]}
    if others and device.type == "cuda":
        raise Unusable(f"a file of --ours is of {', '.join(sorted(others))}, and this is {found['device_name']}")
    timer, pieces, rows = Bench(device, options.samples), Pieces(options.shape, device), []
    bandwidth = timer.bandwidth()
    overhead = timer.sample(lambda: None)
    for name, work, make in works(options, pieces):
        run = make()  # its tensors have to outlive the graph's replays
        rows.append({"name": name, "work": work, "graph": timer.sample(timer.graph_of(run))})
        say(f"{name}: {microseconds(rows[-1]['graph'])} us")
    for row, (_, _, make) in zip(rows, works(options, pieces)):  # at the end: a profiler may leave launches slower than they were
        row["kernels"], row["launched"] = timer.kernels(make())

    result = {
        "schema": SCHEMA, "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "shape": options.shape,
        "environment": found, "samples": options.samples, "l2_bytes": timer.l2, "flush_bytes": timer.flushed.numel(),
        "mark_overhead_ns": overhead["median_ns"], "bandwidth": bandwidth,
        "rows": [{"name": row["name"], "protocol": "cold", "tokens": row["work"][1], "keys": row["work"][2] or options.context,
                  **{name: row[name] for name in ("graph", "kernels", "launched")}} for row in rows],
    }
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{options.shape}, {found['device_name']}, PyTorch {torch.__version__}; {options.samples} samples, each after fills of {timer.flushed.numel() / 1e6:.0f} MB; "
          f"{overhead['median_ns'] / 1e3:.2f} us between two marks with nothing between them")
    print(", ".join(f"{name} {rate['bytes_per_second'] / 1e12:.3f} TB/s" for name, rate in bandwidth.items()))
    print_pieces(rows)
    if ours:
        print_ratios(rows, ours, bandwidth["read"]["bytes_per_second"])
    if our_steps:
        print_steps(our_steps, bandwidth["read"]["bytes_per_second"])


def main(argv=None):
    options = parse(argv)
    return exit_code_of(lambda: bench(options))


if __name__ == "__main__":
    sys.exit(main())
