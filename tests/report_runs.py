"""What the tests of the report files have in common: the program's runs, and the reports made by hand."""
import argparse
import json
import pathlib
import subprocess
import sys


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True, help="qwen3-parity")
    parser.add_argument("--writer", required=True, help="write_reports")
    parser.add_argument("--work", required=True, type=pathlib.Path, help="folder for the files")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    return options


def run(command, code=0):
    """Runs a command that has to end with this exit code."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, errors="replace",
                          stdin=subprocess.DEVNULL, check=False)
    if done.returncode != code:
        sys.exit(f"{command} ended with {done.returncode}, not with {code}:\n{done.stdout}{done.stderr}")


def reports_by_hand(options):
    """Name -> parsed JSON; NAME.xml and NAME.md lie beside NAME.json in the folder."""
    run([options.writer, options.work])
    names = ("failed", "exact", "fused", "gate", "empty", "incomplete", "hostile", "verify")
    return {name: read(options.work / f"{name}.json") for name in names}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))
