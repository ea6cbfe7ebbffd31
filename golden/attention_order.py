#!/usr/bin/env python3
"""The order in which PyTorch's two attention products are summed on a card.

A product of eager attention is a batched matrix product, for which cuBLAS chooses a kernel by the numbers of heads, of
queries and of keys. Some of these kernels do not use the tensor core, and some that do begin with what is left over. Their
order shows from outside, by the idea of FPRev (Xie et al., arXiv 2411.00442): let all summands be 1 but for one pair +M
and -M, where 1 + M = M in the accumulator. The ones that are added to a partial sum which holds exactly one of the pair
vanish, so the result tells how many joined before and after the two met. Many such pairs leave one order of those that are
tried here.

An order is (lanes, run, fold, block) as kernels/numerics/sum_order.h has it. Without lanes it is the tensor core: one
chain of blocks of `block` (16 or 8), the last one filled with zeros; the first `run` summands have blocks of their own.
With lanes, lane l takes the runs l, l + lanes, ... of `run` neighbouring summands, adds them from left to right in fp32,
and the lanes fold by "halves" (l += l + lanes/2, ...) or "in turn" (0 += 1, 0 += 2, ...). None: none of the orders tried.

What is known, from an H200 with cuBLAS 13.1 (reports/published/attention-order-h200.txt):
  - One query gets a tensor-core kernel (nvjet) when the keys are a multiple of 8, and most often a vector kernel otherwise.
  - More queries get one chain of blocks of 16 where the keys are a multiple of 8. Elsewhere kernels of CUTLASS occur: they
    load what the keys leave over a whole number of tiles first, and with many and odd numbers of keys they use mma.m16n8k8
    (s1688), blocks of 8, for both products.

As a program it prints, for numbers of heads, queries and keys, the kernel that ran and its order.
"""

import argparse
import re
import sys
from typing import NamedTuple

import split_k

MASK = 2.0**30
PATTERNS = 512
ONES = 200  # bf16 counts exactly to 256


class Order(NamedTuple):
    lanes: int = 0
    run: int = 0
    fold: str = "halves"
    block: int = split_k.BLOCK


TENSOR_CORE = Order()
TILES = (64, 32, 128, 16, 256)  # of K, in kernels of CUTLASS


def scores_product(query, keys):
    """query heads,T,D; keys heads,S,D; the storage is that of eager attention: q as [token, head, D], keys contiguous."""
    import torch

    return torch.matmul(query.transpose(0, 1).contiguous().transpose(0, 1)[None], keys[None].transpose(2, 3))[0]


def context_product(probs, values):
    """probs heads,T,S; values heads,S,D, contiguous."""
    import torch

    return torch.matmul(probs[None], values[None])[0]


def lane_sum(products, order):
    """fp32 sums of the rows of `products` (rows, n), fp32, in an order with lanes."""
    import torch

    lanes, run, fold, _ = order
    rows, n = products.shape
    turns = -(-n // (lanes * run))
    turn = torch.nn.functional.pad(products, (0, turns * lanes * run - n)).view(rows, turns, lanes, run)
    lane = torch.zeros(rows, lanes, device=products.device)
    for number in range(turns):
        for place in range(run):
            lane += turn[:, number, :, place]
    if fold == "in turn":
        for number in range(1, lanes):
            lane[:, 0] += lane[:, number]
        return lane[:, 0]
    while lanes > 1:
        lanes //= 2
        lane = lane[:, :lanes] + lane[:, lanes:]
    return lane[:, 0]


def spread(x, run, block):
    """The rows of x with zeros between, so that a chain of blocks of 16 has the first `run` columns in blocks of their own
    and at most `block` columns in a block."""
    import torch

    def blocks(part):
        part = torch.nn.functional.pad(part, (0, -part.shape[1] % block)).view(x.shape[0], -1, block)
        return torch.nn.functional.pad(part, (0, split_k.BLOCK - block)).flatten(1)

    return torch.cat([blocks(x[:, :run]), blocks(x[:, run:])], 1)


def in_order(a, b, order):
    """fp32 results of the rows of bf16 a and b (rows, n), summed in the order; None counts as the tensor core."""
    order = order or TENSOR_CORE
    if order.lanes:
        return lane_sum(a.float() * b.float(), order)
    a, b = spread(a, order.run, order.block), spread(b, order.run, order.block)
    return split_k.in_parts(a, b, a.shape[1])


def orders_to_try(n, queries):
    """The tensor core's orders, those with lanes that were met so far, and their relatives, the likely ones first; of all
    that give the same sums the first is named."""
    lanes_met = [Order(32, 4), Order(16, 8), Order(16, 1, "in turn"), Order(8, 1), Order(32, 1), Order(8, 64), Order(4, 64)]
    yield TENSOR_CORE
    if queries == 1:
        yield from lanes_met
    for block in (16, 8):
        for run in dict.fromkeys((0, *(n % tile for tile in TILES))):
            if run < n and (block == 8 or run % split_k.BLOCK):
                yield Order(run=run, block=block)
    yield from lanes_met
    for fold in ("halves", "in turn"):
        for lanes in (32, 16, 8, 4, 2, 1):
            for run in dict.fromkeys((4, 8, 64, 2, 1, -(-n // lanes))):
                yield Order(lanes, run, fold)


def patterns(n, count):
    """(count, n) bf16: ones at up to 200 places, one pair +M and -M among them, zeros elsewhere.

    Of every four patterns one has its ones spread, which tells lanes, parts and the like. In the others they lie side by
    side: at the beginning, a little later, or anywhere. Where blocks begin and end shows only where ones are dense, and a
    chain whose first tile is cut otherwise differs from another in a few dozen places alone.
    """
    import torch

    generator = torch.Generator().manual_seed(n)
    rows = torch.zeros(count, n)
    for number, row in enumerate(rows):
        if number % 4 == 0:
            places = torch.randperm(n, generator=generator)[:ONES]
        else:
            most = max(n - ONES, 0)
            start = (0, min(128, most), int(torch.randint(most + 1, (1,), generator=generator)))[number % 4 - 1]
            places = start + torch.randperm(min(ONES, n), generator=generator)
        row[places] = 1.0
        if n > 1:
            row[places[0]], row[places[1]] = MASK, -MASK
    return rows.to(torch.bfloat16)


def find(product, heads, queries, keys, head_dim, device, call=None):
    """The order of "scores" or "context", or None. `call` stands in for the product in tests."""
    import torch

    n = head_dim if product == "scores" else keys
    at_once = heads * (keys if product == "scores" else head_dim)
    calls = -(-PATTERNS // at_once)
    shown = patterns(n, calls * at_once).to(device)
    ones = torch.ones(heads, queries, n, dtype=torch.bfloat16, device=device)
    seen = []
    for part in shown.split(at_once):
        if product == "scores":
            result = (call or scores_product)(ones, part.view(heads, keys, head_dim))
        else:
            result = (call or context_product)(ones, part.view(heads, head_dim, keys).transpose(1, 2).contiguous())
        if not torch.equal(result.amin(1), result.amax(1)):
            return None  # the order is not the same for every query
        seen.append(result[:, 0].flatten())
    seen, shown = torch.cat(seen)[:PATTERNS], shown[:PATTERNS]
    for order in dict.fromkeys(orders_to_try(n, queries)):
        if split_k.differing(in_order(shown, torch.ones_like(shown), order).to(torch.bfloat16), seen) == 0:
            return order
    return None


def in_words(order):
    if order is None:
        return "an order that is none of those tried"
    if order.lanes:
        return f"{order.lanes} lanes in runs of {order.run}" + (", folded in turn" if order.fold == "in turn" else "")
    return "the tensor core: " + (f"the first {order.run}, then " if order.run else "") + f"one chain of blocks of {order.block}"


def kernel_name(product, heads, queries, keys, head_dim):
    """The kernel that a product of this shape runs, its template arguments without the types."""
    import torch

    def random(*shape):
        return torch.randn(*shape, device="cuda").to(torch.bfloat16)

    call = scores_product if product == "scores" else context_product
    inputs = random(heads, queries, head_dim if product == "scores" else keys), random(heads, keys, head_dim)
    call(*inputs)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        call(*inputs)
        torch.cuda.synchronize()
    names = [event.key for event in profile.key_averages()]
    kernel = max((name for name in names if re.search("gemv|gemm|nvjet|splitK", name)), key=len, default="unknown")
    plain = re.search(r"(nvjet\w+|cutlass_\d\w+)", kernel)
    if plain:
        return plain.group(1)
    short = re.search(r"(\w+)(?:::kernel)?<([^(]*?), cublasGemv", kernel)
    if not short:
        return kernel[:60]
    numbers = [argument for argument in short.group(2).split(", ") if re.fullmatch(r"\d+|true|false", argument)]
    return f"{short.group(1)}<{', '.join(numbers)}>"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, nargs="+", default=[4, 16], metavar="N", help="query heads (default: 4 16)")
    parser.add_argument("--queries", type=int, nargs="+", default=[1], metavar="N",
                        help="numbers of queries, 0 for as many as keys, as in a prefill (default: 1)")
    parser.add_argument("--keys", type=int, nargs="+", default=[5, 24, 33, 200, 257], metavar="N", help="numbers of keys")
    parser.add_argument("--head-dim", type=int, default=128, metavar="N", help="channels of a head (default: 128)")
    options = parser.parse_args()
    if min(options.heads + options.keys + [options.head_dim]) < 1 or min(options.queries) < 0:
        parser.error("heads, keys and --head-dim must be at least 1, --queries at least 0")
    import torch

    if not torch.cuda.is_available():
        print("attention_order.py: no CUDA device is usable.", file=sys.stderr)
        return 3
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, head_dim {options.head_dim}")
    print(f"{'product':8} {'heads':>5} {'queries':>7} {'keys':>5}  {'kernel':44} order")
    for product in ("scores", "context"):
        for heads in options.heads:
            for keys in options.keys:
                for queries in dict.fromkeys(queries or keys for queries in options.queries):
                    if queries > keys:
                        continue
                    name = kernel_name(product, heads, queries, keys, options.head_dim)
                    order = find(product, heads, queries, keys, options.head_dim, "cuda")
                    print(f"{product:8} {heads:5} {queries:7} {keys:5}  {name:44} {in_words(order)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
