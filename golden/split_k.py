"""How a bf16 matrix product was accumulated: a model of the tensor core in integers, and a search for the parts of K.

The model (measured on an H200): an output is a chain over blocks of 16 along K. The 16 exact products and the fp32
accumulator are cut, toward zero, to a multiple of 2^(E-25), where E is the largest exponent among those of the 17 that are
not zero, and at least -133, the products' exponents not normalised; they are added exactly; the sum is cut, toward zero,
to fp32. A library may divide K into parts: each is such a chain, and the chains' results are added in fp32, in order. The
result is rounded to bf16.
"""

import torch

BLOCK = 16
BITS = 25
LOWEST = -126
ZERO = -133  # the exponent of a zero, so the least E
ELEMENTS = 1 << 25  # of a and of b, worked on at a time


def fields(x):
    """Sign (+1 or -1), exponent and 8-bit significand of bf16 numbers; a subnormal has the exponent -126."""
    bits = x.contiguous().view(torch.int16).to(torch.int64) & 0xFFFF
    sign = 1 - 2 * (bits >> 15)
    exponent = (bits >> 7) & 0xFF
    if bool((exponent == 0xFF).any()):
        raise ValueError("the model takes no infinities and no NaN")
    fraction = bits & 0x7F
    normal = exponent > 0
    return sign, torch.where(normal, exponent - 127, LOWEST), torch.where(normal, fraction | 0x80, fraction)


def cut(magnitude, shift):
    return magnitude >> shift.clamp(max=62)


def chain(a, b):
    """One fp32 result a row: the chain over the last dimension of bf16 a and b (rows, K)."""
    rows, depth = a.shape
    if depth % BLOCK:
        fill = torch.zeros(rows, BLOCK - depth % BLOCK, dtype=a.dtype, device=a.device)
        a, b = torch.cat([a, fill], 1), torch.cat([b, fill], 1)
    a_sign, a_exponent, a_bits = fields(a)
    b_sign, b_exponent, b_bits = fields(b)
    sign, product = a_sign * b_sign, a_bits * b_bits
    exponent = torch.where(product == 0, ZERO, a_exponent + b_exponent)

    held_sign = torch.ones(rows, dtype=torch.int64, device=a.device)
    held = torch.zeros_like(held_sign)
    held_exponent = torch.full_like(held_sign, ZERO)
    for start in range(0, a.shape[1], BLOCK):
        here = slice(start, start + BLOCK)
        top = torch.maximum(exponent[:, here].amax(1), held_exponent)
        # A product p has the value p * 2^(exponent - 14), the accumulator m * 2^(exponent - 23).
        terms = sign[:, here] * cut(product[:, here] << (BITS - 14), top[:, None] - exponent[:, here])
        total = terms.sum(1) + held_sign * cut(held << (BITS - 23), top - held_exponent)
        held_sign = torch.where(total < 0, -1, 1)
        total = total.abs()
        length = torch.frexp(total.double())[1].to(torch.int64)
        unit = torch.maximum(top - BITS + length - 24, torch.full_like(top, LOWEST - 23))
        shift = unit - (top - BITS)
        held = torch.where(shift >= 0, total >> shift.clamp(min=0, max=62), total << (-shift).clamp(min=0, max=30))
        held_exponent = torch.where(held == 0, ZERO, unit + 23)
    if bool((held_exponent > 127).any()):
        raise ValueError("the model takes no overflow")
    return torch.ldexp((held_sign * held).double(), torch.where(held == 0, 0, held_exponent - 23).to(torch.int32)).float()


def in_parts(a, b, length):
    """fp32 results of rows of a and b when K is divided into parts of `length`, the last one perhaps shorter."""
    rows = max(1, ELEMENTS // a.shape[1])
    if len(a) > rows:
        return torch.cat([in_parts(a[i: i + rows], b[i: i + rows], length) for i in range(0, len(a), rows)])
    parts = -(-a.shape[1] // length)
    # Zeros behind the end move no bit: a zero product does not count in its block.
    a, b = (torch.nn.functional.pad(x, (0, parts * length - x.shape[1])).reshape(-1, length) for x in (a, b))
    part = chain(a, b).view(-1, parts)
    total = part[:, 0]
    for number in range(1, parts):
        total = total + part[:, number]
    return total


def differing(found, wanted):
    """How many numbers of one type differ in their bits; zeros of both signs count as equal."""
    bits = {torch.bfloat16: torch.int16, torch.float32: torch.int32}[wanted.dtype]
    found = found.to(wanted.dtype)
    unlike = found.view(bits) != wanted.contiguous().view(bits)
    return int((unlike & ~((found == 0) & (wanted == 0))).sum())


def sample(rows, columns, count, seed, device):
    """Positions to look at: all of them when there are no more than `count`, else `count` drawn with the seed."""
    size = rows * columns
    if size <= count:
        flat = torch.arange(size)
    else:
        flat = torch.randint(size, (count,), generator=torch.Generator().manual_seed(seed))
    return (flat // columns).to(device), (flat % columns).to(device)


def candidates(depth, most):
    """(parts, length of a part) to try: equal parts of whole blocks, and where K does not divide, whole tiles of 64."""
    yield 1, depth
    for parts in range(2, most + 1):
        length = depth // parts if depth % (BLOCK * parts) == 0 else -(-depth // (64 * parts)) * 64
        if -(-depth // length) == parts:
            yield parts, length


class Search:
    """Finds the parts of K for the products of one shape: M x K by (N x K)^T.

    Each product that is shown rules out the divisions that do not explain every looked-at output.
    """

    def __init__(self, depth, count=16384, enough=1 << 18, most=32):
        self.count, self.enough = count, enough
        self.mismatches = {division: 0 for division in candidates(depth, most)}
        self.alive = list(self.mismatches)
        self.alive_wide = list(self.mismatches)  # None once a product with fp32 output was another one
        self.checked = self.checked_f32 = 0
        self.shown = 0

    def show(self, x, w, y, wide=None):
        """One more product y = x w^T (x: M x K, w: N x K, y: M x N, all bf16).

        `wide` is the same product with fp32 output, if there is one. It says far more, but a library may divide it in
        another way, and few outputs can agree by chance when they are rounded to bf16. So it only narrows down what y
        leaves, and no more once it disagrees with a y.
        """
        self.shown += 1
        if self.checked >= self.enough or not self.alive:
            return
        row, column = sample(*y.shape, self.count, self.shown, y.device)
        a, b = x[row], w[column]
        self.checked += len(row)
        if wide is None or differing(wide, y) != 0:
            self.alive_wide = None
        self.checked_f32 += len(row) if self.alive_wide is not None else 0
        left_wide = []
        for division in list(self.alive):
            made = in_parts(a, b, division[1])
            self.mismatches[division] += differing(made, y[row, column])
            if self.alive_wide is not None and division in self.alive_wide and differing(made, wide[row, column]) == 0:
                left_wide.append(division)
        self.alive = [division for division in self.alive if self.mismatches[division] == 0]
        self.alive_wide = left_wide if self.alive_wide is not None else None

    def result(self):
        """parts (None if no division explains everything seen), the length of a part, outputs checked and how many of them
        in fp32, mismatches of the division named, and the other numbers of parts that explain everything, too."""
        fitting = [division for division in self.alive if division in (self.alive_wide or self.alive)] or self.alive
        parts, length = fitting[0] if fitting else min(self.mismatches, key=self.mismatches.get)
        return {"parts": parts if fitting else None, "length": length, "checked": self.checked, "checked_f32": self.checked_f32,
                "mismatches": self.mismatches[parts, length], "also": [other for other, _ in fitting[1:]]}


def find_parts(x, w, y, count=16384):
    """The parts of K that explain one product; see Search."""
    search = Search(x.shape[1], count)
    search.show(x, w, y)
    return search.result()
