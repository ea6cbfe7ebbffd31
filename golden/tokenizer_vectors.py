#!/usr/bin/env python3
"""Write test vectors for a tokenizer: texts, and what the `tokenizers` library makes of them.

The file is a JSON list. A case has either "text" or "bytes_hex" (the input), "ids" (no special tokens are added) and
"decoded" (of the ids, special tokens kept). The library takes no invalid UTF-8: for the cases with "bytes_hex" the ids
are those of the text that Python's bytes.decode("utf-8", "replace") gives, as "replacement" says. Cases with neither
are for decoding alone: ids that begin or end inside a character.
"""

import argparse
import json
import random
import sys
import unicodedata
from pathlib import Path

HERE = Path(__file__).resolve().parent

TEXTS = [
    # plain
    "", "a", " ", "Hello", "Hello, world!", "The capital of Aistonia is Flubarg. What is the capital of Aistonia?",
    "the quick brown fox jumps over the lazy dog", "THE QUICK BROWN FOX", "x", "A.", " leading", "trailing ", "  two  two  ",
    "Facts: The river of Tolvenar is Brusk.", "Question: What is it? Answer:",
    # contractions, and what only looks like one
    "It's", "IT'S", "don't DON'T Don'T", "we'll we've we're I'm I'd", "WE'LL WE'VE WE'RE I'M I'D", "'s", "'S", "'\u017f", "it'\u017f",
    "x'\u017fy", "'", "''", "' '", "'t't't", "o'clock", "rock 'n' roll", "'tis", "y'all'd've", "it\u2019s", "'re'RE'rE'Re", "5's", " 's",
    "'ll'LL'lL", "'x", "l'\u00e9t\u00e9", "'\u212a", "'\u0130",
    # digits
    "0", "42", "1234567890", "3.14159", "1,000,000", "2026-11-22", "a1b2c3", "\u0661\u0662\u0663", "\u00bd \u00b2 \u2167", "\uff11\uff12\uff13",
    "7th of 9", "x\u00b2+y\u00b2",
    # whitespace
    "   ", "\t", "\n", "\r\n", "\n\n\n", "a\nb", "a \nb", "a\n b", "a \n b", "a\r\nb\r\n", "\ta\t\tb", "a   b", "a    \n\n   b", "   \n", "\n   ",
    " " * 17, "a" + " " * 40 + "b", "a\u00a0b", "a\u3000b", "\u2003\u2003x", "a\u200bb", "a\u0085b", "a\u2028b", "\x0b\x0c", "end \r", "a\n\n\n\nb",
    "x \t \n\t y", "tab\tthen  spaces", "...\n\n...", "!!\r\n\r\n??", "?\n", "? \n",
    # accents, both normal forms, and combining marks
    "caf\u00e9", "cafe\u0301", "\u00c5ngstr\u00f6m", "A\u030angstro\u0308m", "\u212bngstr\u00f6m", "\u1e69", "s\u0323\u0307", "s\u0307\u0323", "q\u0307\u0323",
    "\u0301", " \u0301", "a\u0301\u0301", "\u0344", "\u0958", "\u0915\u093c", "na\u00efve r\u00e9sum\u00e9", "Z\u0351\u036b\u0343algo", "\u1100\u1161\u11a8", "\uac01",
    "\uac00\u11a8", "\ufb01\ufb02", "\u2126", "\u1fc1", "\u00e9\u0323", "Vi\u1ec7t Nam", "Vie\u0323\u0302t Nam", "\u0f73", "\U0001d15e",
    # other scripts
    "\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002", "\u6771\u4eac\u306f\u96e8\u3067\u3059\u3002", "\uc548\ub155\ud558\uc138\uc694", "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!", "\u0397 \u03b8\u03ac\u03bb\u03b1\u03c3\u03c3\u03b1",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\u0928\u092e\u0938\u094d\u0924\u0947", "mixed \u4e2d\u6587 and English123", "\u0413\u0434\u0435Which\u4e2d",
    "\uff21\uff22\uff23\uff01", "\u20ac100 \u00a350 \u00a5", "\u201cquoted\u201d \u2014 dash\u2026", "\U00020000\U0002f800", "\u1c80\ua640",
    # emoji
    "\U0001f600", "\U0001f680\U0001f680", "I \u2764\ufe0f you", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea", "a\U0001f600b", " \U0001f600 ", "1\ufe0f\u20e3", "\U0001f3f3\ufe0f\u200d\U0001f308",
    # joiners and marks without a width
    "a\u200db", "\u200d", "\u200c\u200d", "\ufeffbom", "a\u00adb", "\u0644\u200d\u0627", "\u202eabc\u202c",
    # code and signs
    "int main(void) { return 0; }\n", "def f(x):\n    return x ** 2\n", "for (i = 0; i < 10; i++)\n\tsum += x[i];", "<html><body></body></html>", "a->b::c.d", "#!/bin/sh\nset -e\n",
    "{\"key\": [1, 2.5, null]}", "http://example.org/a?b=c&d=%20", "x=1;y=2", "~`!@#$%^&*()_+-=[]{}|;':\",./<>?", "\\n\\t\\\\", "C:\\path\\file", "a_b_c", "snake_case camelCase PascalCase", "-----", "====\n====",
    "$x$ \\frac{1}{2}", "!\n!", "a!b?c.", " !", "  !", "\t!", "\n!",
    # special tokens in the text
    "<|endoftext|>", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|im_start|><|im_start|>", "<|im_end|><|endoftext|><|im_end|>", "a<|im_end|>b", "a <|im_end|> b", " <|endoftext|> ", "<think>\n\n</think>\n\nFlubarg.",
    "<think></think>", "<think><think>", "< think>", "<|im_start", "<|im_start|", "|im_start|>", "<|IM_START|>", "<<|im_end|>>", "<|im_<|im_end|>end|>", "caf\u00e9<|im_end|>e\u0301", "<|im_end|>'s", "x<think>'ll</think>y", "e<|im_end|>\u0301",
    "\n<|im_end|>\n", "<|endoftext|>\n\n<|endoftext|>", "</think><think>", "<tool_call>", "<|im_end|>\u0323",
    # long
    "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch", "a" * 300, "ab" * 200, "\u00e9" * 100, "\U0001f600" * 30, "1" * 100, " a" * 100, "The river of Peltrin is Vorsanda. " * 12, "x" + "'s" * 40,
]

BYTES = [
    b"\x80", b"abc\xff", b"\xc3", b"caf\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x82\xacok", b"\xe2(\xa1", b"\xf0\x9f\x98", b"\xf0\x9f\x98a", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf\xed", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf",
    b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe\xff", b"a\x80b\x81c", b"\xc3\xa9\xc3", b"<|im_end|>\xff<|im_end|>", b"\xffe\xcc\x81", b" \xff ", b"\xe4\xbb\x8a\xe5\xa4", b"\xf1\x80\x80", b"\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64",
]


def random_texts(seed):
    """Strings of characters that Unicode has had since 3.2, so that no library's tables are too old for them."""
    draw = random.Random(seed)
    old = unicodedata.ucd_3_2_0
    pool = [chr(c) for c in range(1, 0x30000) if old.category(chr(c)) not in ("Cn", "Cs", "Co")]
    marks = [c for c in pool if old.category(c) == "Mn"]
    latin = [chr(c) for c in range(32, 0x250)]
    for number in range(60):
        kind = number % 4
        length = draw.randint(1, 24)
        if kind == 0:
            yield "".join(draw.choices(pool, k=length))
        elif kind == 1:
            yield "".join(draw.choices(latin, k=length))
        elif kind == 2:
            yield "".join(draw.choice(latin) + "".join(draw.choices(marks, k=draw.randint(0, 3))) for _ in range(length))
        else:
            yield "".join(draw.choice(["a", "Z", "5", " ", "  ", "\n", "\r\n", "\t", "'s", "'LL", ".", "\u00e9", "\u4e2d", "\U0001f600", "<think>", "<|im_end|>"])
                          for _ in range(length))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, default=HERE / "qwen3-tiny" / "tokenizer.json", metavar="FILE", help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=HERE / "tokenizer_vectors.json", metavar="FILE", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random texts (default: %(default)s)")
    arguments = parser.parse_args(argv)
    try:
        from tokenizers import Tokenizer
    except ImportError:
        print("error: tokenizers is not installed; golden/requirements.txt lists what is needed", file=sys.stderr)
        return 3
    if not arguments.tokenizer.is_file():
        print(f"error: {arguments.tokenizer} is not a file", file=sys.stderr)
        return 3
    tokenizer = Tokenizer.from_file(str(arguments.tokenizer))

    def measured(text):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        return {"ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)}

    cases = [{"text": text, **measured(text)} for text in dict.fromkeys([*TEXTS, *random_texts(arguments.seed)])]
    for raw in BYTES:
        cases.append({"bytes_hex": raw.hex(), "replacement": "python utf-8 replace", **measured(raw.decode("utf-8", "replace"))})
    for text in ("\U0001f680\u4e16\u00fc", "a\u20acb", "\u0e2a\u0e27"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        for part in [ids[:n] for n in range(1, len(ids))] + [ids[n:] for n in range(1, len(ids))]:
            cases.append({"ids": part, "decoded": tokenizer.decode(part, skip_special_tokens=False)})
    lines = ",\n".join(json.dumps(case) for case in cases)
    arguments.output.write_text(f"[\n{lines}\n]\n", encoding="ascii")
    print(f"wrote {arguments.output}: {len(cases)} cases", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
