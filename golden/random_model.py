#!/usr/bin/env python3
"""Write a Qwen3 of any size with seeded random weights, to try shapes, captures and speed without a download.

--shape gives the sizes of a released model, the other options change single sizes. The deviation of a matrix is
1/sqrt(its columns), so that activations stay in a sane range at any size; without --shape it is 0.06. Norms lie in 0.2 to
1.2, k_norm with one rotary pair at 96.5, as in the released models. The weights are made in bf16 on the device, tensor by
tensor, so the machine holds a file of at most 4 GB at a time; the same seed gives the same weights on the same kind of
device.
The tokenizer is that of the embedded model: it knows 2,048 entries. A larger --vocabulary makes the embedding and lm_head
as large as they are in a released model (151936). Their further rows are an eighth as large, so that no greedy
continuation has an id for which the tokenizer has no text.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

TOKENIZER = Path(__file__).parent / "qwen3-tiny"
VOCABULARY = 2048
FILE_BYTES = 4 << 30

# hidden, query heads, key and value heads, MLP, layers, tied
SHAPES = {
    "qwen3-0.6b": (1024, 16, 8, 3072, 28, True),
    "qwen3-1.7b": (2048, 16, 8, 6144, 28, True),
    "qwen3-4b": (2560, 32, 8, 9728, 36, True),
    "qwen3-8b": (4096, 32, 8, 12288, 36, False),
    "qwen3-14b": (5120, 40, 8, 17408, 40, False),
    "qwen3-32b": (5120, 64, 8, 25600, 64, False),
}
SIZES = ("hidden", "heads", "kv_heads", "intermediate", "layers")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to write")
    parser.add_argument("--shape", choices=SHAPES, help="the sizes of a released model")
    parser.add_argument("--hidden", type=int, metavar="N", help="hidden size")
    parser.add_argument("--heads", type=int, metavar="N", help="query heads of 128 channels")
    parser.add_argument("--kv-heads", type=int, metavar="N", help="key and value heads")
    parser.add_argument("--intermediate", type=int, metavar="N", help="size of the MLP")
    parser.add_argument("--layers", type=int, metavar="N")
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY, metavar="N", help="rows of the embedding (default: %(default)s)")
    parser.add_argument("--untied", action="store_true", help="an lm_head of its own, also where the shape has none")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--device", help="where the weights are made (default: cuda if there is one, else cpu)")
    options = parser.parse_args()
    for name, size in zip(SIZES, SHAPES.get(options.shape, ())):
        if getattr(options, name) is None:
            setattr(options, name, size)
    lacking = ["--" + name.replace("_", "-") for name in SIZES if getattr(options, name) is None]
    if lacking:
        parser.error(f"without --shape, {' and '.join(lacking)} must be given, too")
    if min(getattr(options, name) for name in SIZES) < 1:
        parser.error("every size must be at least 1")
    if options.heads % options.kv_heads:
        parser.error(f"{options.heads} query heads cannot share {options.kv_heads} key and value heads")
    if options.vocabulary < VOCABULARY:
        parser.error(f"the tokenizer has {VOCABULARY} entries, so --vocabulary must be at least that")
    if options.output.exists():
        parser.error(f"{options.output} exists; name another folder")
    options.tied = not options.untied and SHAPES.get(options.shape, (True,))[-1]
    return options


def shards(weights):
    """The names of the weights, file by file."""
    files, size = [[]], 0
    for name, weight in weights.items():
        if files[-1] and size + 2 * weight.numel() > FILE_BYTES:
            files.append([])
            size = 0
        files[-1].append(name)
        size += 2 * weight.numel()
    return files


def main():
    options = parse()
    import torch
    from safetensors.torch import save_file
    from transformers import Qwen3Config, Qwen3ForCausalLM

    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda" and not torch.cuda.is_available():
        print("random_model.py: no CUDA device is usable; --device cpu runs without one.", file=sys.stderr)
        return 3
    config = Qwen3Config(
        hidden_size=options.hidden, num_attention_heads=options.heads, num_key_value_heads=options.kv_heads, head_dim=128,
        intermediate_size=options.intermediate, num_hidden_layers=options.layers, vocab_size=options.vocabulary,
        tie_word_embeddings=options.tied, max_position_embeddings=40960, rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6}, attention_bias=False,
        architectures=["Qwen3ForCausalLM"], dtype="bfloat16")
    with torch.device("meta"):
        weights = dict(Qwen3ForCausalLM(config).named_parameters())
    if options.tied:
        weights.pop("lm_head.weight", None)
    torch.manual_seed(options.seed)

    def made(name):
        shape = weights[name].shape
        if len(shape) == 2:
            weight = torch.randn(shape, dtype=torch.bfloat16, device=device).mul_(shape[1] ** -0.5 if options.shape else 0.06)
            if "embed_tokens" in name or "lm_head" in name:
                weight[VOCABULARY:] *= 0.125
            return weight
        weight = (0.2 + torch.rand(shape, device=device)).to(torch.bfloat16)
        if "k_norm" in name:
            weight[3] = weight[67] = 96.5
        return weight

    options.output.mkdir(parents=True)
    files = shards(weights)
    index = {"metadata": {"total_size": sum(2 * weight.numel() for weight in weights.values())}, "weight_map": {}}
    for number, names in enumerate(files, 1):
        file = "model.safetensors" if len(files) == 1 else f"model-{number:05d}-of-{len(files):05d}.safetensors"
        save_file({name: made(name).cpu() for name in names}, options.output / file, metadata={"format": "pt"})
        index["weight_map"].update(dict.fromkeys(names, file))
    if len(files) > 1:
        (options.output / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, options.output)
    config.save_pretrained(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
