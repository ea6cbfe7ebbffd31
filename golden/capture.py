#!/usr/bin/env python3
"""Capture a golden file: every boundary tensor of Hugging Face transformers' own Qwen3, in bf16, with eager attention.

For each prompt: the prefill and, if asked for, greedy decode steps with the cache. The tensors are taken by hooks and by
wrapping functions of the installed transformers; the logits of the wrapped run must equal those of a run without wraps,
bit for bit. Each tensor goes to the disk as it appears. The file is written under the name FILE.partial and gets its
own name when it is complete. The schema is described in golden/README.md.

Exit codes: 0 done, 2 usage, 3 a file, the model or the environment is not usable, 4 a check failed.
"""

import argparse
import contextlib
import ctypes
import datetime
import fnmatch
import hashlib
import importlib.metadata
import json
import os
import platform
import signal
import sys
import weakref
from pathlib import Path

import attention_order
import split_k

SCHEMA = "qwen3-parity-golden/1"
PROMPTS_SCHEMA = "qwen3-parity-prompts/1"
LAYER_KEYS = [
    "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.q_norm", "self_attn.k_norm",
    "self_attn.q_rope", "self_attn.k_rope", "self_attn.scores", "self_attn.probs", "self_attn.context", "self_attn.o_proj",
    "residual_attn", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.act", "mlp.product", "mlp.down_proj",
]
COMPRESS_FROM = 1024


INTERRUPTED = []


class Unusable(Exception):
    """A file, the model or the environment cannot be used."""


class Failed(Exception):
    """A check of the capture itself did not hold."""


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---- arguments -----------------------------------------------------------------------------------------------------

def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a Qwen3 checkpoint, or its name on the Hugging Face hub")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="HDF5 file to write")
    parser.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="a prompt; may be given several times")
    parser.add_argument("--name", action="append", default=[], help="the name of the --prompt in the same place (default: prompt_0 ...)")
    parser.add_argument("--prompts", type=Path, metavar="FILE", help="prompts from a JSON file, as golden/prompts.json")
    parser.add_argument("--decode-steps", type=int, metavar="N", help="decode steps after each prefill (default: the prompts file's, else 0)")
    parser.add_argument("--expect", action="append", default=[], metavar="NAME=TEXT",
                        help="the greedy continuation of prompt NAME must begin with TEXT")
    parser.add_argument("--boundaries", default="all", metavar="all|layers|GLOB",
                        help="what to write: every boundary, only embedding, layer outputs, norm and logits, or the keys that match (default: all)")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=16384, metavar="N",
                        help="outputs of a product to look at in the search for split K, 0 for no search (default: %(default)s)")
    parser.add_argument("--compression", type=int, default=9, choices=range(10), metavar="0..9",
                        help="how hard gzip tries, 0 for none: larger, but fast with long prompts (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    arguments = parser.parse_args(argv)
    if not arguments.prompt and not arguments.prompts:
        parser.error("give at least one --prompt or a --prompts FILE")
    if len(arguments.name) > len(arguments.prompt):
        parser.error("there are more --name than --prompt")
    if arguments.decode_steps is not None and arguments.decode_steps < 0:
        parser.error("--decode-steps must not be negative")
    if arguments.samples < 0:
        parser.error("--samples must not be negative")
    for item in arguments.expect:
        if "=" not in item:
            parser.error(f"--expect {item!r} has no '='; it takes NAME=TEXT")
    if arguments.output.exists() and not arguments.force:
        parser.error(f"{arguments.output} exists; --force replaces it")
    return arguments


def read_prompts(arguments):
    """List of dicts: name, text, tokens or None, repeat, decode_steps, expect or None."""
    prompts = []
    if arguments.prompts:
        try:
            content = json.loads(arguments.prompts.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Unusable(f"{arguments.prompts} cannot be read as JSON: {error}") from error
        if not isinstance(content, dict) or content.get("schema") != PROMPTS_SCHEMA or not isinstance(content.get("prompts"), list):
            raise Unusable(f"{arguments.prompts} does not have the schema {PROMPTS_SCHEMA}")
        for item in content["prompts"]:
            prompt = {key: item.get(key, default) for key, default in
                      (("name", None), ("text", None), ("tokens", None), ("repeat", False), ("decode_steps", 0), ("expect", None))}
            kinds = {"name": str, "text": str, "tokens": (int, type(None)), "repeat": bool, "decode_steps": int, "expect": (str, type(None))}
            for key, kind in kinds.items():
                if not isinstance(prompt[key], kind):
                    raise Unusable(f"{arguments.prompts}: a prompt has {key} = {prompt[key]!r}")
            if prompt["decode_steps"] < 0:
                raise Unusable(f"{arguments.prompts}: decode_steps of {prompt['name']} is negative")
            if prompt["repeat"] and prompt["tokens"] is None:
                raise Unusable(f"{arguments.prompts}: {prompt['name']} is to be repeated, and has no number of tokens")
            prompts.append(prompt)
    for number, text in enumerate(arguments.prompt):
        name = arguments.name[number] if number < len(arguments.name) else f"prompt_{number}"
        prompts.append({"name": name, "text": text, "tokens": None, "repeat": False, "decode_steps": 0, "expect": None})
    by_name = {prompt["name"]: prompt for prompt in prompts}
    if len(by_name) < len(prompts):
        raise Unusable("two prompts have the same name")
    for name in by_name:
        if not name or "/" in name or name == ".":
            raise Unusable(f"{name!r} cannot be the name of a prompt: it becomes the name of a group")
    for prompt in prompts:
        if arguments.decode_steps is not None:
            prompt["decode_steps"] = arguments.decode_steps
    for item in arguments.expect:
        name, text = item.split("=", 1)
        if name not in by_name:
            raise Unusable(f"--expect names the prompt {name!r}, and there is none")
        by_name[name]["expect"] = text
    return prompts


def prompt_ids(tokenizer, prompt):
    """The ids of a prompt: of its text, repeated if that is asked for, cut to its number of tokens."""
    def encode(times):
        return tokenizer.encode(prompt["text"] * times, add_special_tokens=False).ids

    ids, times = encode(1), 1
    if not ids:
        raise Unusable(f"prompt {prompt['name']} is empty")
    if prompt["tokens"] is None:
        return ids
    while prompt["repeat"] and len(ids) < prompt["tokens"]:
        times *= 2
        ids = encode(times)
    if not 0 < prompt["tokens"] <= len(ids):
        raise Unusable(f"prompt {prompt['name']} has {len(ids)} tokens and cannot be cut to {prompt['tokens']}")
    return ids[: prompt["tokens"]]


def wanted_keys(choice):
    """A predicate over keys."""
    if choice == "all":
        return lambda key: True
    if choice == "layers":
        plain = {"model.embed_tokens", "model.norm", "lm_head", "next_token"}
        return lambda key: key in plain or (key.startswith("model.layers.") and key.count(".") == 2)
    return lambda key: key == "next_token" or fnmatch.fnmatchcase(key, choice)


# ---- the checkpoint's files ----------------------------------------------------------------------------------------

def checkpoint_file(model, name, required=True):
    """Path of a file of the checkpoint, local or from the hub's cache."""
    if Path(model).is_dir():
        path = Path(model) / name
        if path.is_file():
            return path
    else:
        from transformers.utils import cached_file

        path = cached_file(model, name, _raise_exceptions_for_missing_entries=False)
        if path is not None:
            return Path(path)
    if required:
        raise Unusable(f"{model} has no {name}")
    return None


def weight_hashes(model):
    """sha256 of the bf16 bytes of every tensor in the checkpoint, by its name there."""
    import torch
    from safetensors import safe_open

    index = checkpoint_file(model, "model.safetensors.index.json", required=False)
    if index is None:
        files = {"model.safetensors"}
    else:
        files = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    hashes = {}
    for file in sorted(files):
        with safe_open(checkpoint_file(model, file), "pt") as tensors:
            for name in tensors.keys():
                tensor = tensors.get_tensor(name).to(torch.bfloat16).contiguous()
                hashes[name] = hashlib.sha256(tensor.view(torch.int16).numpy().astype("<i2", copy=False).tobytes()).hexdigest()
    return dict(sorted(hashes.items()))


# ---- the environment -----------------------------------------------------------------------------------------------

def package(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def cublas_version(torch):
    """The version that the loaded library gives, with the package's fourth number where the package is the same one."""
    handle = torch.cuda.current_blas_handle()
    with open("/proc/self/maps", encoding="utf-8") as maps:
        paths = {line.split()[-1] for line in maps if "/libcublas.so" in line}
    if len(paths) != 1:
        raise Unusable(f"{len(paths)} cuBLAS libraries are loaded, and exactly one is expected")
    value = ctypes.c_int(0)
    if ctypes.CDLL(paths.pop()).cublasGetVersion_v2(ctypes.c_void_p(handle), ctypes.byref(value)):
        raise Unusable("cuBLAS does not tell its version")
    number = value.value
    text = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    known = package("nvidia-cublas") or package("nvidia-cublas-cu12")
    return known if known and known.startswith(text + ".") else text


def driver_version():
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return "unknown"
    text = ctypes.create_string_buffer(96)
    if library.nvmlInit_v2():
        return "unknown"
    status = library.nvmlSystemGetDriverVersion(text, len(text))
    library.nvmlShutdown()
    return "unknown" if status else text.value.decode()


def cpu_name():
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "cpu"


def switches(torch):
    """Every switch known to change bits."""
    matmul = torch.backends.cuda.matmul

    def setting(function):
        try:
            return str(function())
        except (AttributeError, RuntimeError):
            return "unknown"

    names = ["CUBLAS_WORKSPACE_CONFIG", "CUBLASLT_WORKSPACE_SIZE", "CUDA_LAUNCH_BLOCKING", "NVIDIA_TF32_OVERRIDE",
             "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_TUNABLEOP_ENABLED", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
             "TORCH_BLAS_PREFER_CUBLASLT", "TORCH_CUDNN_SDPA_DEPRIORITIZED", "USE_HUB_KERNELS"]
    return {
        "matmul.allow_tf32": setting(lambda: matmul.allow_tf32),
        "matmul.allow_bf16_reduced_precision_reduction": setting(lambda: matmul.allow_bf16_reduced_precision_reduction),
        "matmul.allow_fp16_accumulation": setting(lambda: matmul.allow_fp16_accumulation),
        "float32_matmul_precision": setting(torch.get_float32_matmul_precision),
        "deterministic_algorithms": setting(torch.are_deterministic_algorithms_enabled),
        "preferred_blas_library": setting(torch.backends.cuda.preferred_blas_library),
        "cudnn.enabled": setting(lambda: torch.backends.cudnn.enabled),
        "cudnn.allow_tf32": setting(lambda: torch.backends.cudnn.allow_tf32),
        "cudnn.benchmark": setting(lambda: torch.backends.cudnn.benchmark),
        "cudnn.deterministic": setting(lambda: torch.backends.cudnn.deterministic),
        "autocast": setting(lambda: torch.is_autocast_enabled("cuda")),
        "num_threads": setting(torch.get_num_threads),
        "cpu_capability": setting(torch.backends.cpu.get_cpu_capability),
        **{f"env.{name}": os.environ.get(name, "") for name in names},
    }


def environment(torch, device):
    import transformers

    cuda = device.type == "cuda"
    major, minor = torch.cuda.get_device_capability(device) if cuda else (0, 0)
    return {
        "torch_version": torch.__version__,
        "transformers_version": transformers.__version__,
        "python_version": platform.python_version(),
        "cuda_version": (torch.version.cuda or "none") if cuda else "none",
        "cublas_version": cublas_version(torch) if cuda else "none",
        "cudnn_version": str(torch.backends.cudnn.version()) if cuda else "none",
        "driver_version": driver_version() if cuda else "none",
        "device_name": torch.cuda.get_device_name(device) if cuda else cpu_name(),
        "compute_capability": f"{major}.{minor}" if cuda else "none",
        "multiprocessors": torch.cuda.get_device_properties(device).multi_processor_count if cuda else 0,
        "attn_implementation": "eager",
        "dtype": "bf16",
        "switches": json.dumps(switches(torch)),
    }


# ---- writing -------------------------------------------------------------------------------------------------------

class Sink:
    """Writes tensors of one phase at a time and holds none of them."""

    def __init__(self, file, wanted, compression):
        self.file, self.wanted, self.compression = file, wanted, compression
        self.group = None
        self.keys = set()
        self.count = 0
        self.last = None

    def begin(self, group):
        self.group, self.keys = group, set()

    def put(self, key, tensor):
        if key in self.keys:
            raise Failed(f"{key} appeared twice in {self.group.name}")
        self.keys.add(key)
        if not self.wanted(key):
            return
        if self.last is not None and self.last() is not None:
            raise Failed(f"the tensor before {key} is still held in memory")
        self.last = self.write(key, tensor)
        self.count += 1

    def write(self, key, tensor):
        import torch

        host = tensor.detach().to("cpu").contiguous()
        kinds = {torch.bfloat16: ("bf16", torch.int16, "<u2"), torch.float32: ("f32", None, "<f4"), torch.int64: ("i64", None, "<i8")}
        if host.dtype not in kinds:
            raise Failed(f"{key} has the type {host.dtype}, which no golden holds")
        name, view, stored = kinds[host.dtype]
        array = (host.view(view) if view else host).numpy().view(stored)
        options = {}
        if self.compression and array.nbytes >= COMPRESS_FROM:
            rows = max(1, min(array.shape[0], (1 << 20) // max(1, array.nbytes // array.shape[0])))
            options = {"chunks": (rows, *array.shape[1:]), "shuffle": True, "compression": "gzip", "compression_opts": self.compression}
        dataset = self.group.create_dataset(key, data=array, dtype=stored, **options)
        set_text(dataset.attrs, "dtype", name)
        return weakref.ref(host)


def set_text(attributes, name, text):
    """Text of fixed length: HDF5 keeps text of variable length on a heap without checksums, which damage makes it crash on."""
    import h5py

    data = text.encode()
    attributes.create(name, data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))


class Progress:
    """A bar on a terminal, a line a phase elsewhere."""

    def __init__(self, total):
        self.total, self.done, self.bar = total, 0, sys.stderr.isatty()

    def step(self, label):
        self.done += 1
        if self.bar:
            filled = 30 * self.done // self.total
            sys.stderr.write(f"\r[{'#' * filled}{'.' * (30 - filled)}] {self.done}/{self.total} {label:<40.40}")
            sys.stderr.write("\n" if self.done == self.total else "")
            sys.stderr.flush()
        else:
            say(f"{self.done}/{self.total} {label}")


# ---- taking the tensors --------------------------------------------------------------------------------------------

class Products:
    """What is found out about the accumulation of matrix products, by shape."""

    def __init__(self, samples, on):
        self.samples, self.on = samples, on
        self.linear = {}
        self.attention = {}

    def see_linear(self, module, x, w, y):
        shape = (y.shape[0], w.shape[0], w.shape[1])
        modules, search = self.linear.setdefault(shape, ([], split_k.Search(shape[2], self.samples)))
        if module not in modules:
            modules.append(module)
        if self.on:
            import torch

            wide = torch.mm(x, w.t(), out_dtype=torch.float32) if x.is_cuda else None
            search.show(x, w, y, wide)

    def split_k(self):
        """The table of the attribute split_k."""
        nothing = {"parts": 1, "length": None, "checked": 0, "checked_f32": 0, "mismatches": 0, "also": []}
        return [{"module": ",".join(modules), "m": m, "n": n, "k": k, **(search.result() if self.on else nothing | {"length": k})}
                for (m, n, k), (modules, search) in self.linear.items()]

    def see_attention(self, query, key, value, mask, scaling, scores, probs, context):
        """query H,T,D; key and value G,S,D; mask T,S or None; scores and probs H,T,S; context T,H,D."""
        if not self.on:
            return
        import torch

        heads, t, depth = query.shape
        s, shared = key.shape[1], heads // key.shape[0]
        place = self.samples // 4
        entry = self.entry("scores", heads, t, s, depth, query.device)
        row, column = split_k.sample(heads * t, s, place, t * 7919 + s, query.device)
        head, token = row // t, row % t
        made = attention_order.in_order(query[head, token], key[head // shared, column], entry["order"])
        made = made.to(torch.bfloat16) * scaling
        if mask is not None:
            made = made + mask[token, column]
        self.count(entry, made, scores[head, token, column])
        entry = self.entry("context", heads, t, s, depth, query.device)
        row, column = split_k.sample(heads * t, depth, place, t * 7919 + s + 1, query.device)
        head, token = row // t, row % t
        made = attention_order.in_order(probs[head, token], value[head // shared, :, column], entry["order"])
        self.count(entry, made, context[token, head, column])

    def entry(self, product, heads, t, s, depth, device):
        """What is known of a product of this shape. The order is looked for where it is not always one chain of blocks of 16."""
        if (product, heads, t, s) not in self.attention:
            order = attention_order.TENSOR_CORE
            if device.type == "cuda" and (t == 1 or s % 8):
                order = attention_order.find(product, heads, t, s, depth, device)
            self.attention[product, heads, t, s] = {"product": product, "heads": heads, "t": t, "s": s, "order": order,
                                                    "checked": 0, "mismatches": 0}
        return self.attention[product, heads, t, s]

    def count(self, entry, made, wanted):
        entry["checked"] += len(made)
        entry["mismatches"] += split_k.differing(made, wanted)

    def attention_products(self):
        """The table of the attribute attention_products."""
        return [{**{name: value for name, value in entry.items() if name != "order"},
                 **(entry["order"] or attention_order.Order(None, None, None, None))._asdict()}
                for entry in self.attention.values()]


@contextlib.contextmanager
def wrapped(model, sink, products):
    """Hooks on the model's modules and wraps of transformers' functions, for as long as the context lasts."""
    import torch
    from transformers.models.qwen3 import modeling_qwen3 as source

    handles = []
    state = {"layer": None, "softmax_input": None, "stride": None}

    def output(module, key):
        handles.append(module.register_forward_hook(
            lambda _, __, result: sink.put(key, (result if torch.is_tensor(result) else result[0])[0])))

    def linear(module, key):
        def hook(module, inputs, result):
            sink.put(key, result[0])
            products.see_linear(key.rsplit(".", 1)[-1], inputs[0][0], module.weight, result[0])
        handles.append(module.register_forward_hook(hook))

    def entering(module, key):
        handles.append(module.register_forward_pre_hook(lambda _, inputs: sink.put(key, inputs[0][0])))

    def rotary(module, _, result):
        if module.inv_freq.dtype != torch.float32:
            raise Failed(f"inv_freq has the type {module.inv_freq.dtype}, and float32 is wanted")
        sink.put("model.rotary_emb.inv_freq", module.inv_freq)
        sink.put("model.rotary_emb.cos", result[0][0])
        sink.put("model.rotary_emb.sin", result[1][0])

    def number(index):
        def hook(*_):
            state["layer"] = index
        return hook

    real_rope, real_attention, real_softmax = source.apply_rotary_pos_emb, source.eager_attention_forward, torch.nn.functional.softmax

    def rope(*arguments, **names):
        q, k = real_rope(*arguments, **names)
        prefix = f"model.layers.{state['layer']}.self_attn."
        sink.put(prefix + "q_rope", q[0].transpose(0, 1))
        sink.put(prefix + "k_rope", k[0].transpose(0, 1))
        state["stride"] = list(q.stride())
        return q, k

    def softmax(values, *arguments, **names):
        if state["softmax_input"] is not None:
            raise Failed("eager attention calls softmax more than once")
        if values.dtype != torch.bfloat16 or names.get("dtype") != torch.float32:
            raise Failed(f"softmax got {values.dtype} and computes in {names.get('dtype')}; bf16 and float32 are expected")
        state["softmax_input"] = values
        return real_softmax(values, *arguments, **names)

    def attention(module, query, key, value, mask, scaling, **names):
        torch.nn.functional.softmax = softmax
        try:
            context, probs = real_attention(module, query, key, value, mask, scaling, **names)
        finally:
            torch.nn.functional.softmax = real_softmax
        scores, state["softmax_input"] = state["softmax_input"], None
        if scores is None or module.layer_idx != state["layer"]:
            raise Failed("eager attention did not call softmax, or not in the layer that was entered")
        prefix = f"model.layers.{module.layer_idx}.self_attn."
        sink.put(prefix + "scores", scores[0])
        sink.put(prefix + "probs", probs[0])
        sink.put(prefix + "context", context[0])
        products.see_attention(query[0], key[0], value[0], None if mask is None else mask[0, 0], scaling, scores[0], probs[0], context[0])
        return context, probs

    inner = model.model
    output(inner.embed_tokens, "model.embed_tokens")
    handles.append(inner.rotary_emb.register_forward_hook(rotary))
    for index, layer in enumerate(inner.layers):
        prefix = f"model.layers.{index}"
        handles.append(layer.register_forward_pre_hook(number(index)))
        output(layer.input_layernorm, f"{prefix}.input_layernorm")
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            linear(getattr(layer.self_attn, name), f"{prefix}.self_attn.{name}")
        output(layer.self_attn.q_norm, f"{prefix}.self_attn.q_norm")
        output(layer.self_attn.k_norm, f"{prefix}.self_attn.k_norm")
        entering(layer.post_attention_layernorm, f"{prefix}.residual_attn")
        output(layer.post_attention_layernorm, f"{prefix}.post_attention_layernorm")
        for name in ("gate_proj", "up_proj", "down_proj"):
            linear(getattr(layer.mlp, name), f"{prefix}.mlp.{name}")
        output(layer.mlp.act_fn, f"{prefix}.mlp.act")
        entering(layer.mlp.down_proj, f"{prefix}.mlp.product")
        output(layer, prefix)
    output(inner.norm, "model.norm")
    linear(model.lm_head, "lm_head")
    source.apply_rotary_pos_emb, source.eager_attention_forward = rope, attention
    try:
        yield state
    finally:
        source.apply_rotary_pos_emb, source.eager_attention_forward = real_rope, real_attention
        torch.nn.functional.softmax = real_softmax
        for handle in handles:
            handle.remove()


def greedy_token(logits):
    """The lowest index among the largest logits of the last position."""
    row = logits[0, -1]
    if not bool(row.isfinite().all()):
        raise Failed("a logit is not finite")
    return int((row == row.max()).nonzero()[0, 0])


def bits_hash(tensor):
    import torch

    return hashlib.sha256(tensor.detach().cpu().contiguous().view(torch.int16).numpy().tobytes()).hexdigest()


def phase_names(steps):
    return ["prefill", *(f"decode.{number:03d}" for number in range(steps))]


class Run:
    """A prefill and greedy decode steps with one cache. `feed` is what the next forward call gets, `past` what the cache holds."""

    def __init__(self, model, ids, device):
        from transformers import DynamicCache

        self.model, self.device = model, device
        self.cache = DynamicCache(config=model.config)
        self.feed, self.past = ids, 0

    def forward(self):
        """A hash of the logits, and the next token."""
        import torch

        ids = torch.tensor([self.feed], device=self.device)
        logits = self.model(input_ids=ids, past_key_values=self.cache, use_cache=True, logits_to_keep=0).logits
        if logits.dtype != torch.bfloat16:
            raise Failed(f"the logits have the type {logits.dtype}, and bfloat16 is wanted")
        token = greedy_token(logits)
        self.past += len(self.feed)
        self.feed = [token]
        return bits_hash(logits), token


def expected_keys(layers):
    keys = {"model.embed_tokens", "model.rotary_emb.inv_freq", "model.rotary_emb.cos", "model.rotary_emb.sin", "model.norm", "lm_head", "next_token"}
    for index in range(layers):
        keys.add(f"model.layers.{index}")
        keys.update(f"model.layers.{index}.{key}" for key in LAYER_KEYS)
    return keys


def check_expected(prompt, tokenizer, tokens):
    """The greedy continuation begins with the expected text, as far as the steps reach."""
    text = tokenizer.decode(tokens, skip_special_tokens=False)
    wanted = prompt["expect"]
    if wanted and not (text.startswith(wanted) or (text and wanted.startswith(text))):
        raise Failed(f"prompt {prompt['name']}: the continuation is {text!r} and should begin with {wanted!r}")


def capture(arguments, argv):
    try:
        import h5py
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoModelForCausalLM
    except ImportError as error:
        raise Unusable(f"{error.name} is not installed; golden/requirements.txt lists what is needed") from error

    prompts = read_prompts(arguments)
    if not arguments.output.parent.is_dir():
        raise Unusable(f"{arguments.output.parent} is not a folder")
    try:
        device = torch.device(arguments.device)
    except RuntimeError as error:
        raise Unusable(f"{arguments.device!r} is not a device") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise Unusable("no CUDA device is usable; --device cpu runs without one, but its bits are those of this CPU")
    if torch.backends.cuda.matmul.allow_tf32 or torch.get_float32_matmul_precision() != "highest":
        raise Unusable("TF32 is switched on, and rotary angles would be wrong with it")

    config_text = checkpoint_file(arguments.model, "config.json").read_text(encoding="utf-8")
    try:
        model_type = json.loads(config_text).get("model_type")
    except (ValueError, AttributeError) as error:
        raise Unusable(f"{arguments.model}: config.json is not a JSON object") from error
    if model_type != "qwen3":
        raise Unusable(f"{arguments.model} is of model_type {model_type!r}, and qwen3 is wanted")
    tokenizer_path = checkpoint_file(arguments.model, "tokenizer.json")
    try:
        tokenizer = Tokenizer.from_file(str(tokenizer_path))
    except Exception as error:  # the library raises nothing more special
        raise Unusable(f"{tokenizer_path} is not a tokenizer: {error}") from error
    for prompt in prompts:
        prompt["ids"] = prompt_ids(tokenizer, prompt)

    try:
        model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.bfloat16, attn_implementation="eager").to(device).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise Unusable(f"{arguments.model} cannot be loaded on {device}: {error}") from error
    if type(model).__name__ != "Qwen3ForCausalLM" or model.config._attn_implementation != "eager":
        raise Unusable(f"{arguments.model} loads as {type(model).__name__} with {model.config._attn_implementation} attention")
    if model.model.rotary_emb.inv_freq.dtype != torch.float32:
        raise Failed("inv_freq was loaded in another type than float32")

    keys, wanted = expected_keys(len(model.model.layers)), wanted_keys(arguments.boundaries)
    if not any(wanted(key) for key in keys - {"next_token"}):
        raise Unusable(f"--boundaries {arguments.boundaries!r} matches no boundary; a key is, say, model.layers.0.self_attn.q_norm")

    torch.set_grad_enabled(False)
    progress = Progress(2 * sum(1 + prompt["decode_steps"] for prompt in prompts))
    plain = {}
    for prompt in prompts:
        run = Run(model, prompt["ids"], device)
        for name in phase_names(prompt["decode_steps"]):
            plain[prompt["name"], name] = run.forward()
            progress.step(f"plain {prompt['name']}/{name}")
        check_expected(prompt, tokenizer, [token for (owner, _), (_, token) in plain.items() if owner == prompt["name"]])

    partial = arguments.output.with_name(arguments.output.name + ".partial")
    products = Products(arguments.samples, device.type == "cuda" and arguments.samples > 0)
    try:
        with h5py.File(partial, "w", libver=("v110", "v110")) as file:
            write_head(file, arguments, argv, prompts, config_text, tokenizer_path, environment(torch, device))
            sink = Sink(file, wanted, arguments.compression)
            with wrapped(model, sink, products) as state:
                for prompt in prompts:
                    group = file.create_group(prompt["name"])
                    set_text(group.attrs, "prompt", tokenizer.decode(prompt["ids"], skip_special_tokens=False))
                    group.attrs["decode_steps"] = prompt["decode_steps"]
                    run = Run(model, prompt["ids"], device)
                    for name in phase_names(prompt["decode_steps"]):
                        phase = group.create_group(name)
                        phase.attrs.create("input_ids", run.feed, dtype="<i4")
                        phase.attrs.create("past", run.past, dtype="<i8")
                        sink.begin(phase)
                        digest, token = run.forward()
                        sink.put("next_token", torch.tensor([token]))
                        phase.attrs.create("q_rope_stride", state["stride"], dtype="<i8")
                        if (digest, token) != plain[prompt["name"], name]:
                            raise Failed(f"{prompt['name']}/{name}: the logits with the wraps differ from those without")
                        if sink.keys != keys:
                            raise Failed(f"{prompt['name']}/{name}: missing {sorted(keys - sink.keys)}, unknown {sorted(sink.keys - keys)}")
                        file.flush()
                        progress.step(f"{prompt['name']}/{name}")
            set_text(file.attrs, "split_k", json.dumps(products.split_k()))
            set_text(file.attrs, "attention_products", json.dumps(products.attention_products()))
            hashes = json.dumps(weight_hashes(arguments.model)).encode()
            file.create_dataset("weights_sha256", data=hashes, dtype=h5py.string_dtype("utf-8", len(hashes)))
            file.flush()
            file.attrs.create("complete", 1, dtype="<i8")
        if INTERRUPTED:  # an exception in a signal handler can get lost in a callback of a library
            raise KeyboardInterrupt
        os.replace(partial, arguments.output)
    finally:
        partial.unlink(missing_ok=True)
    return products, sink.count


def write_head(file, arguments, argv, prompts, config_text, tokenizer_path, found):
    name = Path(arguments.model).resolve().name if Path(arguments.model).is_dir() else arguments.model
    set_text(file.attrs, "schema", SCHEMA)
    set_text(file.attrs, "model_name", name)
    set_text(file.attrs, "model_config", config_text)
    set_text(file.attrs, "tokenizer_sha256", hashlib.sha256(tokenizer_path.read_bytes()).hexdigest())
    for key, value in found.items():
        if isinstance(value, int):
            file.attrs.create(key, value, dtype="<i8")
        else:
            set_text(file.attrs, key, str(value))
    set_text(file.attrs, "prompts", json.dumps([prompt["name"] for prompt in prompts]))
    set_text(file.attrs, "boundaries", arguments.boundaries)
    set_text(file.attrs, "created", datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"))
    set_text(file.attrs, "command", " ".join(["capture.py", *(repr(item) if " " in item else item for item in argv)]))
    set_text(file.attrs, "capture_sha256", hashlib.sha256(Path(__file__).read_bytes()).hexdigest())


def exit_code_of(work):
    """Calls work(). 0, or 3 or 4 with a sentence on stderr where what it needs is not usable, or a result is not."""
    try:
        work()
    except (Unusable, OSError) as error:
        say(f"error: {error}")
        return 3
    except Failed as error:
        say(f"failed: {error}")
        return 4
    return 0


def report(arguments, products, written):
    """Says what was found out and written."""
    for entry in products.split_k():
        say(f"linear {entry['module']}: M {entry['m']}, N {entry['n']}, K {entry['k']}: parts {entry['parts']}, "
            f"{entry['mismatches']} of {entry['checked']} ({entry['checked_f32']} in fp32) differ{', as well as ' + str(entry['also']) if entry['also'] else ''}")
    for entry in products.attention.values():
        say(f"attention {entry['product']}: {entry['heads']} heads, {entry['t']} by {entry['s']}: "
            f"{attention_order.in_words(entry['order'])}; {entry['mismatches']} of {entry['checked']} differ")
    size = arguments.output.stat().st_size
    say(f"wrote {arguments.output}: {written} datasets, {size} bytes")


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    arguments = parse(argv)

    def stop(*_):
        INTERRUPTED.append(True)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    captured = []
    try:
        code = exit_code_of(lambda: captured.extend(capture(arguments, argv)))
    except KeyboardInterrupt:
        say("interrupted; nothing was written")
        return 130
    if captured:
        report(arguments, *captured)
    return code


if __name__ == "__main__":
    sys.exit(main())
