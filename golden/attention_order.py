#!/usr/bin/env python3
"""The order in which PyTorch's two attention products are summed on a card, for one query.

A product of eager attention is a batched matrix product, for which cuBLAS chooses a kernel by the number of heads and of
keys. Some of these kernels do not use the tensor core. Their order shows from outside, by the idea of FPRev (Xie et al.,
arXiv 2411.00442): let all summands be 1 but for one pair +M and -M, where 1 + M = M in the accumulator. The ones that are
added to a partial sum which holds exactly one of the pair vanish, so the result tells how many joined before and after
the two met. Many such pairs leave one order of those that are tried here.

An order is (lanes, run) as kernels/numerics/lane_fma.h has it: lane l takes the runs l, l + lanes, ... of `run`
neighbouring summands, adds them from left to right in fp32, and the lanes fold by halves. (0, 0) is the tensor core: one
chain of blocks of 16. None: none of the orders tried.

As a program it prints, for numbers of heads and keys, the kernel that ran and its order.
"""

import argparse
import re
import sys

import split_k

MASK = 2.0**30
PATTERNS = 512
ONES = 200  # bf16 counts exactly to 256
TENSOR_CORE = (0, 0)


def scores_product(query, keys):
    """query heads,1,D; keys heads,S,D; the storage is that of eager attention: q as [token, head, D], keys contiguous."""
    import torch

    return torch.matmul(query.transpose(0, 1).contiguous().transpose(0, 1)[None], keys[None].transpose(2, 3))[0]


def context_product(probs, values):
    """probs heads,1,S; values heads,S,D, contiguous."""
    import torch

    return torch.matmul(probs[None], values[None])[0]


def lane_sum(products, lanes, run):
    """fp32 sums of the rows of `products` (rows, n), fp32, in the order (lanes, run)."""
    import torch

    lane = torch.zeros(products.shape[0], lanes, device=products.device)
    for index in range(products.shape[1]):
        lane[:, index // run % lanes] += products[:, index]
    while lanes > 1:
        lanes //= 2
        lane = lane[:, :lanes] + lane[:, lanes:]
    return lane[:, 0]


def in_order(a, b, order):
    """fp32 results of the rows of bf16 a and b (rows, n), summed in the order; None counts as the tensor core."""
    lanes, run = order or TENSOR_CORE
    return lane_sum(a.float() * b.float(), lanes, run) if lanes else split_k.in_parts(a, b, a.shape[1])


def orders_to_try(n):
    """The tensor core, the orders that were met so far, and their relatives; the last share the row evenly."""
    yield TENSOR_CORE
    for lanes in (32, 16, 8, 4, 2, 1):
        for run in (4, 8, 2, 1):
            yield lanes, run
        yield lanes, -(-n // lanes)


def patterns(n, count):
    """(count, n) bf16: ones at up to 200 places, one pair +M and -M, zeros elsewhere."""
    import torch

    generator = torch.Generator().manual_seed(n)
    rows = torch.zeros(count, n)
    for row in rows:
        places = torch.randperm(n, generator=generator)[:ONES]
        row[places] = 1.0
        if n > 1:
            row[places[0]], row[places[1]] = MASK, -MASK
    return rows.to(torch.bfloat16)


def find(product, heads, keys, head_dim, device, call=None):
    """The order of "scores" or "context" for one query, or None. `call` stands in for the product in tests."""
    import torch

    n = head_dim if product == "scores" else keys
    at_once = heads * (keys if product == "scores" else head_dim)
    calls = -(-PATTERNS // at_once)
    shown = patterns(n, calls * at_once).to(device)
    seen = []
    for part in shown.split(at_once):
        if product == "scores":
            ones = torch.ones(heads, 1, head_dim, dtype=torch.bfloat16, device=device)
            seen.append((call or scores_product)(ones, part.view(heads, keys, head_dim)).flatten())
        else:
            ones = torch.ones(heads, 1, keys, dtype=torch.bfloat16, device=device)
            values = part.view(heads, head_dim, keys).transpose(1, 2).contiguous()
            seen.append((call or context_product)(ones, values).flatten())
    seen, shown = torch.cat(seen)[:PATTERNS], shown[:PATTERNS]
    for order in orders_to_try(n):
        if split_k.differing(in_order(shown, torch.ones_like(shown), order).to(torch.bfloat16), seen) == 0:
            return order
    return None


def in_words(order):
    if order is None:
        return "an order that is none of those tried"
    return "{} lanes in runs of {}".format(*order) if order[0] else "the tensor core: one chain of blocks of 16"


def kernel_name(product, heads, keys, head_dim):
    """The kernel that a product of this shape runs, its template arguments without the types."""
    import torch

    def random(*shape):
        return torch.randn(*shape, device="cuda").to(torch.bfloat16)

    call = scores_product if product == "scores" else context_product
    inputs = random(heads, 1, head_dim if product == "scores" else keys), random(heads, keys, head_dim)
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
    parser.add_argument("--keys", type=int, nargs="+", default=[5, 24, 33, 200, 257], metavar="N", help="numbers of keys")
    parser.add_argument("--head-dim", type=int, default=128, metavar="N", help="channels of a head (default: 128)")
    options = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("attention_order.py: no CUDA device is usable.", file=sys.stderr)
        return 3
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, one query, head_dim {options.head_dim}")
    print(f"{'product':8} {'heads':>5} {'keys':>5}  {'kernel':44} order")
    for product in ("scores", "context"):
        for heads in options.heads:
            for keys in options.keys:
                name = kernel_name(product, heads, keys, options.head_dim)
                order = find(product, heads, keys, options.head_dim, "cuda")
                print(f"{product:8} {heads:5} {keys:5}  {name:44} {in_words(order)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
