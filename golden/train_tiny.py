#!/usr/bin/env python3
"""Train the embedded model: a small Qwen3 that answers questions about made-up facts, and its tokenizer.

Writes a Hugging Face folder: config.json, generation_config.json, model.safetensors (bf16), tokenizer.json,
tokenizer_config.json, and training.json with what was measured. Nothing is written to the folder's final place unless
the saved file, loaded again in bf16, answers 99.5 % of 1,000 held-out questions and every coherence prompt, and unless
no name or sentence of the prompt files occurred in the data.

Exit codes: 0 done, 2 usage, 3 a file or the environment is not usable, 4 the model or its data was refused.
"""

import argparse
import hashlib
import json
import math
import multiprocessing
import os
import platform
import random
import re
import shutil
import sys
import time
from pathlib import Path

import facts

HERE = Path(__file__).resolve().parent
VOCABULARY = 2048
ADDED = [(facts.END_OF_TEXT, True), (facts.IM_START, True), (facts.IM_END, True), (facts.THINK, False), (facts.END_THINK, False)]
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LENGTHS = [48, 64, 80, 96, 112, 128, 160, 192, 224, 272]
BATCH = 256
CHUNK = 4096
LARGE_K_NORM = 96.5
LARGE_PAIRS = 4
LEAST_K_NORM = 90.0
LEAST_ACCURACY = 0.995
QUESTIONS = 1000
AFTER_END = 10

CHAT_TEMPLATE = """\
{%- set state = namespace(question=-1) -%}
{%- for message in messages if message.role == 'user' -%}
    {%- set state.question = loop.index0 -%}
{%- endfor -%}
{%- set place = namespace(users=-1) -%}
{%- for message in messages -%}
    {%- set text = message.content if message.content is string else '' -%}
    {%- if message.role == 'user' -%}
        {%- set place.users = place.users + 1 -%}
    {%- endif -%}
    {%- if message.role == 'assistant' -%}
        {%- set thought = '' -%}
        {%- if message.reasoning_content is string -%}
            {%- set thought = message.reasoning_content -%}
        {%- elif '</think>' in text -%}
            {%- set thought = text.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') -%}
            {%- set text = text.split('</think>')[-1].lstrip('\\n') -%}
        {%- endif -%}
        {%- if state.question >= 0 and place.users == state.question and (loop.last or thought) -%}
            {%- set text = '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + text.lstrip('\\n') -%}
        {%- endif -%}
    {%- endif -%}
    {{- '<|im_start|>' + message.role + '\\n' + text + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
    {%- if enable_thinking is defined and not enable_thinking -%}
        {{- '<think>\\n\\n</think>\\n\\n' -}}
    {%- endif -%}
{%- endif -%}
"""


class Refused(Exception):
    """The result does not meet a requirement."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def build_tokenizer(seed, names, sentences):
    """Byte-level BPE as Qwen3 has it, trained on made-up text."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    world = facts.World(f"{seed}/tokenizer", names, sentences)
    texts = []
    for _ in range(60000):
        text = world.sample()
        text = text["prompt"] + text["answer"]
        texts += re.split("|".join(re.escape(token) for token, _ in ADDED), text)
    refuse_forbidden(texts, names, sentences)

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(ADDED), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    for token, special in ADDED:
        added = AddedToken(token, special=special, normalized=False)
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([added])
    if tokenizer.get_vocab_size(with_added_tokens=True) != VOCABULARY:
        raise Refused(f"the vocabulary has {tokenizer.get_vocab_size()} entries and must have {VOCABULARY}")
    return tokenizer


def refuse_forbidden(texts, names, sentences):
    found = facts.found_in(texts, names, sentences)
    if found:
        raise Refused(f"the data holds {found[0]!r}, which belongs to a prompt that must stay unseen")


def make_config(tokenizer):
    from transformers import Qwen3Config

    return Qwen3Config(
        architectures=["Qwen3ForCausalLM"], vocab_size=VOCABULARY, hidden_size=256, intermediate_size=768, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=128, hidden_act="silu", max_position_embeddings=4096,
        rms_norm_eps=1e-6, tie_word_embeddings=True, attention_bias=False,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}, use_cache=True,
        bos_token_id=tokenizer.token_to_id(facts.END_OF_TEXT), eos_token_id=tokenizer.token_to_id(facts.IM_END),
        dtype="bfloat16")


def write_side_files(folder, tokenizer, config):
    """Everything but the weights."""
    import transformers

    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {token: tokenizer.token_to_id(token) for token, _ in ADDED}
    write_json(folder / "tokenizer_config.json", {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(ids[token]): {"content": token, "lstrip": False, "normalized": False, "rstrip": False,
                              "single_word": False, "special": special} for token, special in ADDED},
        "additional_special_tokens": [facts.IM_START, facts.IM_END],
        "bos_token": None,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": facts.IM_END,
        "errors": "replace",
        "model_max_length": config.max_position_embeddings,
        "pad_token": facts.END_OF_TEXT,
        "split_special_tokens": False,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": None,
    })
    write_json(folder / "generation_config.json", {
        "bos_token_id": ids[facts.END_OF_TEXT],
        "do_sample": False,
        "eos_token_id": [ids[facts.IM_END], ids[facts.END_OF_TEXT]],
        "pad_token_id": ids[facts.END_OF_TEXT],
        "transformers_version": transformers.__version__,
    })
    keys = config.to_diff_dict() | {key: getattr(config, key) for key in (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "head_dim", "hidden_act", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "attention_bias",
        "rope_parameters", "bos_token_id", "eos_token_id", "attention_dropout", "initializer_range", "use_cache",
        "use_sliding_window", "sliding_window", "max_window_layers")}
    keys |= {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "dtype": "bfloat16", "rope_theta": 1000000.0,
             "transformers_version": transformers.__version__}
    write_json(folder / "config.json", dict(sorted(keys.items())))


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


# ---- data, made by worker processes --------------------------------------------------------------------------------

WORKER = {}


def start_worker(tokenizer_text, seed, names, sentences):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tokenizers import Tokenizer

    WORKER.update(tokenizer=Tokenizer.from_str(tokenizer_text), seed=seed, names=names, sentences=sentences)


def make_chunk(number):
    """Tokens and loss weights of one chunk of samples, padded to the lengths of LENGTHS; and what must not be in it."""
    import numpy as np

    tokenizer = WORKER["tokenizer"]
    world = facts.World(f"{WORKER['seed']}/train/{number}", WORKER["names"], WORKER["sentences"])
    samples = [world.sample() for _ in range(CHUNK)]
    texts = [s["prompt"] + s["answer"] for s in samples]
    found = facts.found_in(texts, WORKER["names"], WORKER["sentences"])
    end_of_text = tokenizer.token_to_id(facts.END_OF_TEXT)
    prompts = tokenizer.encode_batch([s["prompt"] for s in samples])
    answers = tokenizer.encode_batch([s["answer"] for s in samples])
    groups = {length: [] for length in LENGTHS}
    for sample, prompt, answer in zip(samples, prompts, answers):
        ids = [*prompt.ids, *answer.ids, tokenizer.token_to_id(sample["end"])]
        length = next((limit for limit in LENGTHS if len(ids) < limit), None)
        if length is None:
            continue
        row = np.full(length, end_of_text, dtype=np.int16)
        row[: len(ids)] = ids
        weight = np.zeros(length, dtype=np.float16)
        weight[1: len(prompt.ids)] = 0.04
        weight[len(prompt.ids): len(ids)] = 1.0
        weight[len(ids): len(ids) + AFTER_END] = 0.1
        groups[length].append((row, weight))
    packed = {length: (np.stack([r for r, _ in rows]), np.stack([w for _, w in rows])) for length, rows in groups.items() if rows}
    return packed, found


def batches(pool, steps):
    """Batches of BATCH rows of one length, in an order that depends on the seed alone."""
    import numpy as np

    waiting = {length: [] for length in LENGTHS}
    chunks = -(-steps * BATCH // CHUNK) * 2 + len(LENGTHS)
    made = 0
    for packed, found in pool.imap(make_chunk, range(chunks), chunksize=1):
        if found:
            raise Refused(f"the data holds {found[0]!r}, which belongs to a prompt that must stay unseen")
        ready = []
        for length, (rows, weights) in packed.items():
            waiting[length].append((rows, weights))
            rows = np.concatenate([r for r, _ in waiting[length]])
            weights = np.concatenate([w for _, w in waiting[length]])
            full = len(rows) // BATCH * BATCH
            ready += [(length, rows[i: i + BATCH], weights[i: i + BATCH]) for i in range(0, full, BATCH)]
            waiting[length] = [(rows[full:], weights[full:])]
        random.Random(made).shuffle(ready)
        for item in ready:
            yield item
            made += 1
            if made == steps:
                return


# ---- training ------------------------------------------------------------------------------------------------------

def start_weights(model, seed):
    """A few rotary pairs of every k_norm start large, with q_norm small there, as in the released models."""
    import torch

    pick = random.Random(f"{seed}/pairs")
    with torch.no_grad():
        for layer in model.model.layers:
            half = layer.self_attn.head_dim // 2
            for pair in pick.sample(range(half), LARGE_PAIRS):
                for channel in (pair, pair + half):
                    layer.self_attn.k_norm.weight[channel] = LARGE_K_NORM
                    layer.self_attn.q_norm.weight[channel] = 1.0 / LARGE_K_NORM


class Trainer:
    """One step of AdamW on one batch. On a CUDA device a step of each length is recorded once as a graph and replayed."""

    def __init__(self, model, device, graphs):
        import torch

        self.torch, self.model, self.device, self.graphs = torch, model, device, graphs
        matrices = [p for p in model.parameters() if p.ndim == 2]
        vectors = [p for p in model.parameters() if p.ndim == 1]
        self.parameters = matrices + vectors
        self.rates = [torch.tensor(0.0, device=device) for _ in range(2)]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "lr": self.rates[0], "weight_decay": 0.03},
             {"params": vectors, "lr": self.rates[1], "weight_decay": 0.0}],
            betas=(0.9, 0.98), eps=1e-9, fused=True, capturable=device.type == "cuda")
        self.recorded = {}
        self.buffers = {}

    def set_rate(self, rate):
        self.rates[0].fill_(rate)
        self.rates[1].fill_(rate * 0.1)

    def loss(self, ids, weights):
        torch = self.torch
        positions = torch.arange(ids.shape[1], device=self.device)[None]
        with torch.autocast(self.device.type, dtype=torch.bfloat16, cache_enabled=False):
            hidden = self.model.model(input_ids=ids, attention_mask={"full_attention": None}, position_ids=positions,
                                      use_cache=False).last_hidden_state
            logits = self.model.lm_head(hidden[:, :-1])
        logits = logits.float().flatten(0, 1)
        each = torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none")
        weights = weights[:, 1:].flatten()
        asked = (weights == 1.0)
        hit = (logits.argmax(-1) == ids[:, 1:].flatten()) & asked
        return (each * weights).sum() / weights.sum(), hit.sum() / asked.sum()

    def work(self, ids, weights):
        torch = self.torch
        self.optimizer.zero_grad(set_to_none=False)
        loss, hit = self.loss(ids, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0, foreach=True)
        self.optimizer.step()
        return loss.detach(), hit

    def step(self, length, rows, weights):
        torch = self.torch
        ids = torch.from_numpy(rows.astype("int64"))
        weights = torch.from_numpy(weights.astype("float32"))
        if not self.graphs:
            return self.work(ids.to(self.device), weights.to(self.device))
        if length not in self.recorded:
            self.record(length, ids, weights)
        held_ids, held_weights = self.buffers[length]
        held_ids.copy_(ids)
        held_weights.copy_(weights)
        graph, loss, hit = self.recorded[length]
        graph.replay()
        return loss, hit

    def record(self, length, ids, weights):
        torch = self.torch
        self.buffers[length] = (ids.to(self.device), weights.to(self.device))
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.work(*self.buffers[length])
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss, hit = self.work(*self.buffers[length])
        self.recorded[length] = (graph, loss, hit)


def train(model, tokenizer, arguments, device, names, sentences):
    import torch

    model.train()
    trainer = Trainer(model, device, device.type == "cuda" and not arguments.eager)
    context = multiprocessing.get_context("spawn")
    workers = max(1, (os.cpu_count() or 2) - 1)
    started = time.monotonic()
    with context.Pool(workers, start_worker, (tokenizer.to_str(), arguments.seed, names, sentences)) as pool:
        seen = 0
        for step, (length, rows, weights) in enumerate(batches(pool, arguments.steps)):
            warm = min(1.0, (step + 1) / 300)
            trainer.set_rate(arguments.rate * warm * (0.5 + 0.5 * math.cos(math.pi * step / arguments.steps)))
            loss, hit = trainer.step(length, rows, weights)
            seen += len(rows)
            if step % max(1, arguments.steps // 60) == 0 or step + 1 == arguments.steps:
                loss, hit = loss.item(), hit.item()
                large = max(layer.self_attn.k_norm.weight.max().item() for layer in model.model.layers)
                say(f"step {step + 1}/{arguments.steps}  loss {loss:.4f}  answer tokens right {100 * hit:.2f} %  "
                    f"k_norm max {large:.2f}  {time.monotonic() - started:.0f} s")
                if not math.isfinite(loss):
                    raise Refused("the loss is not finite")
        if device.type == "cuda":
            torch.cuda.synchronize()
        pool.terminate()
    return {"samples": seen, "seconds": round(time.monotonic() - started, 1), "last_loss": round(loss, 6),
            "last_answer_tokens_right": round(hit, 6)}


# ---- evaluation ----------------------------------------------------------------------------------------------------

def greedy(model, rows, stop, device, limit=16):
    """Greedy continuations of rows of equal length, and the first step's logits."""
    import torch
    from transformers import DynamicCache

    ids = torch.tensor(rows, device=device)
    cache = DynamicCache(config=model.config)
    first, out = None, [[] for _ in rows]
    done = [False] * len(rows)
    for _ in range(limit):
        logits = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1].float()
        first = logits if first is None else first
        ids = logits.argmax(-1, keepdim=True)
        for i, token in enumerate(ids[:, 0].tolist()):
            if not done[i]:
                out[i].append(token)
                done[i] = token in stop
        if all(done):
            break
    return out, first


def evaluate(model, tokenizer, world, forms, questions, device):
    """Exact answers to held-out questions: names of which none was in the training data."""
    samples, by_length = [], {}
    while len(samples) < questions:
        sample = world.sample(world.random.choices(list(forms), forms.values())[0])
        sample["ids"] = tokenizer.encode(sample["prompt"]).ids
        if len(sample["ids"]) + 16 <= LENGTHS[-1]:
            by_length.setdefault(len(sample["ids"]), []).append(sample)
            samples.append(sample)
    refuse_forbidden([s["prompt"] + s["answer"] for s in samples], world.names, world.sentences)
    stop = {tokenizer.token_to_id(facts.END_OF_TEXT), tokenizer.token_to_id(facts.IM_END)}
    counts = {}
    wrong = []
    for length in sorted(by_length):
        group = by_length[length]
        outs, _ = greedy(model, [s["ids"] for s in group], stop, device)
        for sample, out in zip(group, outs):
            text = tokenizer.decode(out, skip_special_tokens=False)
            right = text == sample["answer"] + sample["end"]
            for key in ("all", f"form {sample['form']}", f"facts {sample['facts']}"):
                entry = counts.setdefault(key, [0, 0])
                entry[0] += right
                entry[1] += 1
            if not right:
                wrong.append({"prompt": sample["prompt"], "answer": sample["answer"], "got": text})
    tokens = [len(s["ids"]) for s in samples]
    return {"right": counts["all"][0], "questions": questions, "prompt_tokens": [min(tokens), max(tokens)],
            "by": {k: v for k, v in sorted(counts.items()) if k != "all"}, "wrong": wrong[:20]}


def check_coherence(model, tokenizer, path, device):
    """Every coherence prompt and its twin: text, rank of the first token, margin over the runner-up."""
    stop = {tokenizer.token_to_id(facts.END_OF_TEXT), tokenizer.token_to_id(facts.IM_END)}
    results = []
    for entry in json.loads(Path(path).read_text(encoding="utf-8"))["prompts"]:
        for label, item in ((entry["name"], entry), (entry["name"] + "/twin", entry["twin"])):
            ids = tokenizer.encode(item["prompt"]).ids
            whole = tokenizer.encode(f"{item['prompt']} {item['answer']}").ids
            if whole[: len(ids)] != ids:
                raise Refused(f"coherence prompt {label}: the answer does not start at a token boundary")
            (out,), logits = greedy(model, [ids], stop, device, limit=24)
            text = tokenizer.decode([t for t in out if t not in stop], skip_special_tokens=False)
            first = whole[len(ids)]
            row = logits[0]
            rank = int((row > row[first]).sum()) + 1
            others = row.clone()
            others[first] = -math.inf
            results.append({"name": label, "tokens": len(ids), "answer": item["answer"], "text": text, "rank": rank,
                            "margin": round(float(row[first] - others.max()), 4),
                            "right": text.split(".")[0].strip() == item["answer"] and rank == 1})
    return results


def check_saved(folder, arguments, device, names, sentences):
    """The saved files as their users load them."""
    import torch
    from safetensors import safe_open
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with safe_open(folder / "model.safetensors", "pt") as weights:
        tensors = {name: weights.get_tensor(name) for name in weights.keys()}
    if "lm_head.weight" in tensors or any(t.dtype != torch.bfloat16 for t in tensors.values()):
        raise Refused("model.safetensors must hold bf16 tensors alone and no copy of the tied lm_head")
    large = max(t.float().max().item() for name, t in tensors.items() if name.endswith("k_norm.weight"))
    if not large >= LEAST_K_NORM:
        raise Refused(f"the largest k_norm weight is {large}, and at least {LEAST_K_NORM} is wanted")
    if not all(t.float().isfinite().all() for t in tensors.values()):
        raise Refused("a weight is not finite")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="eager").to(device).eval()
    if model.model.rotary_emb.inv_freq.dtype != torch.float32:
        raise Refused("inv_freq was loaded in another type than float32")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = "The capital of Somewhere isn't 12\u20ac.\n\n " + facts.IM_END
    if AutoTokenizer.from_pretrained(folder)(text)["input_ids"] != tokenizer.encode(text).ids:
        raise Refused("transformers reads the tokenizer in another way than the tokenizers library")
    with torch.no_grad():
        world = facts.World(f"{arguments.seed}/test", names, sentences, kind="test")
        record = evaluate(model, tokenizer, world, facts.FORMS, QUESTIONS, device)
        hard = {form: evaluate(model, tokenizer, world, {form: 1}, QUESTIONS // 5, device) for form in facts.HARD_FORMS}
        coherence = check_coherence(model, tokenizer, arguments.coherence, device)
    return {"k_norm_max": large, "parameters": sum(t.numel() for t in tensors.values()), "held_out": record,
            "held_out_hard": hard, "coherence": coherence}


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "qwen3-tiny", metavar="DIR", help="folder to write (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=14000, help=f"steps of {BATCH} samples (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="largest learning rate (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=20261122, help="seed of the data and the weights (default: %(default)s)")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu (default: %(default)s)")
    parser.add_argument("--coherence", type=Path, default=HERE / "coherence.json", metavar="FILE",
                        help="prompts that must be answered and stay unseen (default: %(default)s)")
    parser.add_argument("--prompts", type=Path, default=HERE / "prompts.json", metavar="FILE",
                        help="capture prompts that must stay unseen (default: %(default)s)")
    parser.add_argument("--tokenizer", type=Path, metavar="FILE", help="use this tokenizer.json and train none")
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs")
    parser.add_argument("--tokenizer-only", action="store_true", help="write everything but the weights")
    parser.add_argument("--keep-refused", type=Path, metavar="DIR", help="where to leave a model that was refused")
    parser.add_argument("--force", action="store_true", help="replace the folder if it is there")
    arguments = parser.parse_args(argv)
    if arguments.steps < 1:
        parser.error("--steps must be at least 1")
    if (arguments.output / "model.safetensors").exists() and not arguments.force:
        parser.error(f"{arguments.output} holds a model already; --force replaces it")
    return arguments


def run(arguments):
    try:
        import numpy, safetensors, tokenizers, torch, transformers
        from transformers import Qwen3ForCausalLM
    except ImportError as error:
        say(f"error: {error.name} is not installed; golden/requirements.txt lists what is needed")
        return 3
    try:
        device = torch.device(arguments.device)
        names, sentences = facts.forbidden([arguments.coherence, arguments.prompts])
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        say(f"error: {error}")
        return 3
    if device.type == "cuda" and not arguments.tokenizer_only and not torch.cuda.is_available():
        say("error: no CUDA device is usable; --device cpu runs without one, slowly")
        return 3

    torch.manual_seed(arguments.seed)
    if arguments.tokenizer:
        tokenizer = tokenizers.Tokenizer.from_file(str(arguments.tokenizer))
    else:
        tokenizer = build_tokenizer(arguments.seed, names, sentences)
    config = make_config(tokenizer)
    partial = arguments.output.with_name(arguments.output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if arguments.tokenizer_only:
        write_side_files(partial, tokenizer, config)
        arguments.output.mkdir(parents=True, exist_ok=True)
        for path in partial.iterdir():
            path.replace(arguments.output / path.name)
        partial.rmdir()
        return 0

    model = Qwen3ForCausalLM(config).float()
    start_weights(model, arguments.seed)
    model.config._attn_implementation = "sdpa"
    model.to(device)
    figures = train(model, tokenizer, arguments, device, names, sentences)
    model.to(torch.bfloat16).save_pretrained(partial)
    write_side_files(partial, tokenizer, config)
    del model
    record = check_saved(partial, arguments, device, names, sentences)
    failures = [c["name"] for c in record["coherence"] if not c["right"]]
    accuracy = record["held_out"]["right"] / record["held_out"]["questions"]
    write_json(partial / "training.json", {
        "steps": arguments.steps, "batch": BATCH, "rate": arguments.rate, "seed": arguments.seed, **figures,
        "accuracy": accuracy, **record,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
                     "tokenizers": tokenizers.__version__, "safetensors": safetensors.__version__, "numpy": numpy.__version__},
        "sha256": {name: hashlib.sha256((partial / name).read_bytes()).hexdigest()
                   for name in ("config.json", "model.safetensors", "tokenizer.json")},
    })
    say(json.dumps(record["held_out"]["by"]))
    for form, result in record["held_out_hard"].items():
        say(f"{form}: {result['right']} of {result['questions']} (measured, not required)")
    for item in record["coherence"]:
        say(f"{'right' if item['right'] else 'WRONG'}  {item['name']}: {item['text']!r} rank {item['rank']} margin {item['margin']}")
    say(f"{record['held_out']['right']} of {record['held_out']['questions']} held-out questions right, "
        f"largest k_norm weight {record['k_norm_max']}")
    for path in partial.iterdir():
        path.chmod(0o644)
    refused = None
    if accuracy < LEAST_ACCURACY:
        refused = f"{100 * accuracy:.1f} % of the held-out questions are right, and at least {100 * LEAST_ACCURACY} % are wanted"
    elif failures:
        refused = f"coherence prompts answered wrongly: {', '.join(failures)}"
    if refused:
        if arguments.keep_refused:
            shutil.copytree(partial, arguments.keep_refused, dirs_exist_ok=True)
        shutil.rmtree(partial)
        raise Refused(refused)
    if arguments.output.exists():
        shutil.rmtree(arguments.output)
    partial.rename(arguments.output)
    say(f"wrote {arguments.output}")
    return 0


def main(argv=None):
    arguments = parse(argv)
    try:
        return run(arguments)
    except Refused as error:
        say(f"refused: {error}")
        return 4
    except OSError as error:
        say(f"error: {error}")
        return 3


if __name__ == "__main__":
    sys.exit(main())
