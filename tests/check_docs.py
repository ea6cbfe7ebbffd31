#!/usr/bin/env python3
"""Whether the documentation tells the truth about the program, the repository and itself.

The program's --help is the only list of commands and options. docs/reference.md has it word for word between markers,
which --write brings up to date; the man page has every option in prose; and every command line in a code block has to
be one that the program would accept. Links and named files have to be there, or a reader is sent nowhere."""

import argparse
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

PROGRAM_NAME = "qwen3-parity"
REFERENCE = "docs/reference.md"
MAN_PAGE = f"docs/{PROGRAM_NAME}.1"
MADE_BY_THE_READER = ("kernels/silu/silu_mine.c", "kernels/silu/silu_mine.cu")
FOLDERS = ("cmake", "docs", "examples", "golden", "harness", "kernels", "model", "reports", "tests")


@dataclass
class Command:
    name: str
    usage: str = ""
    summary: str = ""
    details: str = ""
    rows: list = field(default_factory=list)  # (what stands on the left, its help)

    @property
    def options(self):
        return {left.split()[0] for left, _ in self.rows if left.startswith("--")}

    @property
    def flags(self):
        return {left for left, _ in self.rows if left.startswith("--") and " " not in left}


# ---- What the program says of itself ----


def help_of(program, *arguments):
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout


def read_command(program, name):
    head, *middle, options = help_of(program, name, "--help").strip("\n").split("\n\n")
    command = Command(name, head.removeprefix("usage: "), middle[0], " ".join(" ".join(middle[1:]).split()))
    for line in options.splitlines():
        left, text = re.fullmatch(r"  (\S.*?)  +(.*)", line).groups()
        command.rows.append((left, text))
    return command


def read_program(program):
    """Commands by name, and exit codes with their meaning."""
    text = help_of(program, "--help")
    commands = {name: read_command(program, name) for name in re.findall(r"^  (\w+)  +\S", text, re.M)}
    codes = re.findall(r"(\d) ([^;.]+)[;.]", text[text.index("Exit codes:"):])
    return commands, [(code, " ".join(meaning.split())) for code, meaning in codes]


# ---- The reference: generated between markers ----


def cell(text):
    return re.sub(r"([|*<])", r"\\\1", text)


def table(head, rows):
    return "\n".join([f"| {head} | |", "|---|---|"] + [f"| {left} | {cell(right)} |" for left, right in rows])


def code(text):
    return "`" + text.replace("|", "\\|") + "`"


def sections(commands, codes):
    """What stands between the markers, by their names."""
    made = {"commands": table("command", [(f"[`{c.name}`](#{c.name})", c.summary) for c in commands.values()]),
            "exit codes": table("code", codes)}
    for c in commands.values():
        parts = [f"    {c.usage}", c.summary[0].upper() + c.summary[1:] + ".", cell(c.details).replace("\\|", "|")]
        made[c.name] = "\n\n".join([p for p in parts if p] + [table("option", [(code(l), t) for l, t in c.rows])])
    return made


def with_sections(text, made):
    """The reference's text with what stands between its markers made anew."""
    for name, content in made.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            sys.exit(f"{REFERENCE}: the markers '{begin.strip()}' and '{end.strip()}' must be there once")
        head, rest = text.split(begin)
        text = head + begin + content + "\n" + end + rest.split(end)[1]
    return text


def check_reference(source, commands, codes, write):
    path = source / REFERENCE
    was = path.read_text()
    now = with_sections(was, sections(commands, codes))
    if write:
        path.write_text(now)
    elif was != now:
        yield f"{REFERENCE} is not what --help says: run tests/check_docs.py PROGRAM --write"


# ---- The man page ----


def man_sections(text):
    """What is said of each option, by the title of its .Sh or .Ss and its name."""
    found = {}
    for part in re.split(r"^\.S[hs] ", text, flags=re.M)[1:]:
        items = re.findall(r"^\.It Fl -([a-z-]+)(.*?)(?=^\.It|^\.El)", part, flags=re.M | re.S)
        found[part.splitlines()[0]] = {"--" + name: " ".join(rest.split()) for name, rest in items}
    return found


def check_man_page(source, commands):
    """A command's options are in its own subsection, or in one whose title lists it: 'Forms of verify and report'."""
    found = man_sections((source / MAN_PAGE).read_text())
    for command in commands.values():
        described = {"--help": ""}
        for title, items in found.items():
            if title == command.name or (" of " in title and re.search(rf"\b{command.name}\b", title)):
                described |= items
        if command.name not in found:
            yield f"{MAN_PAGE}: no subsection '.Ss {command.name}'"
        for option in sorted(command.options - described.keys()):
            yield f"{MAN_PAGE}: {command.name} has {option}, of which it says nothing"
        for option in sorted(described.keys() - command.options):
            yield f"{MAN_PAGE}: {command.name} has no {option}"
        for left, text in command.rows:
            default = re.search(r"default is ([\d.]*\d)", described.get(left.split()[0], ""))
            if default and f"default: {default[1]})" not in text:
                yield f"{MAN_PAGE}: {command.name}: the default of {left} is not {default[1]}"


def lint_man_page(source):
    mandoc = shutil.which("mandoc")
    if not mandoc:
        print("mandoc is not here: the man page is not linted")
        return
    lint = subprocess.run([mandoc, "-Tlint", "-W", "warning", source / MAN_PAGE], capture_output=True, text=True)
    if lint.returncode or lint.stdout:
        yield lint.stdout.strip() or f"mandoc: exit code {lint.returncode}"


# ---- Text: environment variables, links, files, command lines ----


def check_environment(source):
    """Each variable that the program reads is explained twice: in the reference and in the man page."""
    read = set()
    for folder in ("harness", "kernels", "model", "reports"):
        for path in (source / folder).rglob("*.[chu]*"):
            read |= set(re.findall(r'getenv\("(\w+)"\)', path.read_text(errors="replace")))
    for name in (REFERENCE, MAN_PAGE):
        text = (source / name).read_text()
        for variable in sorted(read):
            if variable not in text:
                yield f"{name}: nothing of {variable}, which the program reads"


def anchors(path):
    """Of a Markdown file, as GitHub makes them from its headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def check_links(source, path):
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        there = (path.parent / target) if target else path
        if not there.exists():
            yield f"{path.relative_to(source)}: links to {target}, which is not there"
        elif anchor and anchor not in anchors(there):
            yield f"{path.relative_to(source)}: links to {link}, which has no such heading"
    for named in re.findall(r"`([\w./-]+)`", text):
        ours = named.split("/")[0] in FOLDERS and "/" in named and named not in MADE_BY_THE_READER
        if ours and not (source / named).exists():
            yield f"{path.relative_to(source)}: names {named}, which is not there"


def code_lines(text):
    """Lines of fenced and indented code, of which a backslash at the end joins two."""
    fenced, lines = False, []
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            lines.append(line)
    return re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()


def words_of(line):
    """As a shell would split it; nothing for what is no shell line."""
    lexer = shlex.shlex(line.strip().removeprefix("$ "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    try:
        return list(lexer)
    except ValueError:
        return []


def command_lines(lines, commands):
    """The words behind the program's name, of every call."""
    for line in lines:
        words = words_of(line)
        for at, word in enumerate(words):
            first = all(re.match(r"\w+=|-$|run:$|time$", w) for w in words[:at])
            follows = words[at + 1] if at + 1 < len(words) else ""
            if word.split("/")[-1] == PROGRAM_NAME and (first or "/" in word or follows in commands):
                rest = words[at + 1:]
                ends = [i for i, w in enumerate(rest) if re.fullmatch(r"[|;&<>()]+", w)]
                if rest or first:
                    yield line.strip(), rest[:ends[0]] if ends else rest


def complaint(words, commands, faults):
    """What the program would say to these words, or None."""
    if not words or words[0] in ("--help", "help", "--version"):
        return None
    if words[0] == "COMMAND":
        return None
    command = commands.get(words[0])
    if not command:
        return f"there is no command {words[0]}"
    rest = iter(words[1:])
    for word in rest:
        option, equals, value = word.partition("=")
        if not word.startswith("--"):
            continue
        if option not in command.options:
            return f"{command.name} has no {option}"
        if option not in command.flags and not equals:
            value = next(rest, None)
        if value is None:
            return f"{option} needs a value"
        if option == "--fault" and value.islower() and value not in faults:
            return f"there is no fault {value}"
    return None


def check_command_lines(source, path, commands, faults):
    text = path.read_text()
    lines = code_lines(text) if path.suffix == ".md" else text.splitlines()
    for line, words in command_lines(lines, commands):
        wrong = complaint(words, commands, faults)
        if wrong:
            yield f"{path.relative_to(source)}: '{line}': {wrong}"


def problems(source, program, write):
    commands, codes = read_program(program)
    faults = set(re.findall(r"--fault: +([\w-]+):", help_of(program, "list")))
    pages = [source / "README.md", *sorted((source / "docs").glob("*.md"))]
    pages += sorted((source / "examples").rglob("*.md"))
    pages += [source / "golden" / "README.md", source / "reports" / "README.md"]
    yield from check_reference(source, commands, codes, write)
    yield from check_man_page(source, commands)
    yield from lint_man_page(source)
    yield from check_environment(source)
    for page in pages:
        yield from check_links(source, page)
    for page in [*pages, source / MAN_PAGE, *sorted((source / "examples").rglob("*.yml"))]:
        yield from check_command_lines(source, page, commands, faults)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=pathlib.Path, help="qwen3-parity")
    parser.add_argument("--write", action="store_true", help="bring docs/reference.md up to date with --help")
    arguments = parser.parse_args()
    source = pathlib.Path(__file__).resolve().parent.parent
    found = list(problems(source, arguments.program.resolve(), arguments.write))
    print("\n".join(found) if found else "the documentation says what the program does")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
