#!/usr/bin/env python3
"""Write a Qwen3 of any size with seeded random weights, to try shapes and captures without a download.

Matrices are normal with deviation 0.06, norms lie in 0.2 to 1.2, k_norm in 0 to 4 with one rotary pair at 96.5, bf16.
The tokenizer is that of the embedded model, so the vocabulary has 2,048 entries.
"""

import argparse
import shutil
import sys
from pathlib import Path

TOKENIZER = Path(__file__).parent / "qwen3-tiny"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to write")
    parser.add_argument("--hidden", type=int, required=True, help="hidden size")
    parser.add_argument("--heads", type=int, required=True, help="query heads of 128 channels")
    parser.add_argument("--kv-heads", type=int, required=True, help="key and value heads")
    parser.add_argument("--intermediate", type=int, required=True, help="size of the MLP")
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--untied", action="store_true", help="an lm_head of its own")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    if options.output.exists():
        print(f"random_model.py: {options.output} exists; name another folder.", file=sys.stderr)
        return 2

    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(options.seed)
    model = Qwen3ForCausalLM(Qwen3Config(
        hidden_size=options.hidden, num_attention_heads=options.heads, num_key_value_heads=options.kv_heads, head_dim=128,
        intermediate_size=options.intermediate, num_hidden_layers=options.layers, vocab_size=2048,
        tie_word_embeddings=not options.untied, max_position_embeddings=4096, rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6}, attention_bias=False))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2:
                weight.normal_(0, 0.06)
            elif "k_norm" in name:
                weight.copy_(torch.rand(128) * 4)
                weight[3] = weight[67] = 96.5
            else:
                weight.copy_(0.2 + torch.rand(weight.shape))
    model.to(torch.bfloat16).save_pretrained(options.output)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
