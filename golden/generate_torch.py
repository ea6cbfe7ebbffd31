#!/usr/bin/env python3
"""Print the token ids that PyTorch's own Qwen3 continues a prompt with: greedy, bf16, eager attention, one line of ids.

The prefill computes the logits of its last position alone, as transformers' generate() does; capture.py computes all of
them, and a matrix product of another shape may differ in its last bits. The end token does not end the line. Between two
equal logits the token with the lower id is taken.

Exit codes: 0 done, 2 usage, 3 a file, the model or the environment is not usable, 4 a logit is not finite.
"""

import argparse
import sys

from capture import Unusable, checkpoint_file, exit_code_of, greedy_token


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a Qwen3 checkpoint, or its name on the Hugging Face hub")
    parser.add_argument("--prompt", required=True, metavar="TEXT")
    parser.add_argument("--max-tokens", type=int, default=32, metavar="N", help="tokens to print (default: %(default)s)")
    parser.add_argument("--device", help="cuda, cuda:N or cpu (default: cuda if there is one, else cpu)")
    options = parser.parse_args()
    if options.max_tokens < 1:
        parser.error("--max-tokens must be at least 1")
    return options


def usable_device(name=None):
    """The device of this name; without one a CUDA device if there is one, else the CPU."""
    import torch

    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise Unusable(f"{name!r} is not a device") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise Unusable("no CUDA device is usable; --device cpu runs without one")
    return device


def load(name, device=None, attention="eager"):
    """The model in bf16 on the device; rotary frequencies stay in fp32, which is why it is not cast afterwards."""
    try:
        import torch
        from transformers import AutoModelForCausalLM
    except ImportError as error:
        raise Unusable(f"{error.name} is not installed; golden/requirements.txt lists what is needed") from error
    device = usable_device(device)
    torch.set_grad_enabled(False)
    try:
        model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.bfloat16, attn_implementation=attention).to(device).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise Unusable(f"{name} cannot be loaded on {device}: {error}") from error
    if type(model).__name__ != "Qwen3ForCausalLM" or model.model.rotary_emb.inv_freq.dtype != torch.float32:
        raise Unusable(f"{name} loads as {type(model).__name__} with rotary frequencies in {model.model.rotary_emb.inv_freq.dtype}")
    return model, device


def generate(model, ids, count, device):
    import torch
    from transformers import DynamicCache

    cache, feed, tokens = DynamicCache(config=model.config), ids, []
    while len(tokens) < count:
        logits = model(input_ids=torch.tensor([feed], device=device), past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        feed = [greedy_token(logits)]
        tokens += feed
    return tokens


def continue_prompt(options):
    from tokenizers import Tokenizer

    ids = Tokenizer.from_file(str(checkpoint_file(options.model, "tokenizer.json"))).encode(options.prompt, add_special_tokens=False).ids
    if not ids:
        raise Unusable("the prompt is empty")
    model, device = load(options.model, options.device)
    print(*generate(model, ids, options.max_tokens, device))


def main():
    options = parse()
    return exit_code_of(lambda: continue_prompt(options))


if __name__ == "__main__":
    sys.exit(main())
