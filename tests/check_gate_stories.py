#!/usr/bin/env python3
"""What a merge request can meet at the gate, with the installed program: each story of docs/gate.md is played once, and
its exit code and files have to be those that the page promises."""

import json
import re
import shutil
import signal
import sys
import time
import unittest
import xml.etree.ElementTree

from installed import EXAMPLES, place_from_arguments

GUILTY = "aistonia/prefill/model.layers.0.input_layernorm"  # of weight-before-cast: the first norm of the plan
FEW_ROWS = "one_token/*q_norm"
ON_Q_NORM = {"key": "*.self_attn.q_norm", "reason": "known, being mended", "expires": "2999-12-31"}
BENCH = "qwen3-parity bench --phase decode --only '*down_proj' --samples 5 --context 16 --json baseline.json"


def policy(*runs):
    return {"schema": "qwen3-parity-gate/1", "runs": list(runs)}


def faster(report, factor):
    """A report of bench with all times divided by `factor`."""
    if isinstance(report, dict):
        return {k: v / factor if k.endswith("_ns") and k != "mark_overhead_ns" else faster(v, factor)
                for k, v in report.items()}
    return [faster(r, factor) for r in report] if isinstance(report, list) else report


class Stories(unittest.TestCase):
    place = None

    def setUp(self):
        self.place.clear()

    def write(self, name, content):
        self.place.file(name).write_text(json.dumps(content))

    def read(self, name):
        return self.place.file(name).read_text()

    def run_and_expect(self, code, script, says=""):
        result = self.place.shell(script)
        output = result.stdout + result.stderr
        self.assertEqual(result.returncode, code, f"{script}\n{output}")
        self.assertIn(says, output)
        return output

    def gate(self, code, *runs, more="", says=""):
        self.write("gate.json", policy(*runs))
        return self.run_and_expect(code, f"qwen3-parity verify --gate gate.json --report out {more}", says)

    # ---- Bits ----

    def test_nothing_changed(self):
        shutil.copy(EXAMPLES / "ci" / "gate.json", self.place.file("gate.json"))
        self.run_and_expect(0, "qwen3-parity verify --gate gate.json --report out")
        first = json.loads(self.read("out/fused/report.json"))
        self.assertEqual(first["summary"]["verdict"], "pass")
        self.run_and_expect(0, "qwen3-parity compare out/fused/report.json out/fused/report.json --strict", "NOT WORSE")

    def test_a_fault_is_found_and_its_kernel_named_first(self):
        self.gate(1, {"name": "reference"}, more="--fault weight-before-cast", says=f"FAIL  {GUILTY}  local")
        cases = xml.etree.ElementTree.parse(self.place.file("out/reference/junit.xml")).iter("testcase")
        failing = [c.get("name") for c in cases if c.find("failure") is not None]
        self.assertEqual(next(name for name in failing if name.endswith("[local]")), f"{GUILTY} [local]")
        for page in ("summary.md", "report.html"):
            text = self.read(f"out/reference/{page}").replace("\\", "")
            self.assertIn(GUILTY, text[text.index("Start here"):][:300], page)
        rows = json.loads(self.read("out/reference/report.json"))["rows"]
        self.assertEqual(next(r["key"] for r in rows if r["mode"] == "local" and r["verdict"] == "fail"), GUILTY)

    def test_compare_names_what_fails_now(self):
        self.run_and_expect(0, f"qwen3-parity verify --only '{FEW_ROWS}' --json old.json")
        self.run_and_expect(1, f"qwen3-parity verify --only '{FEW_ROWS}' --fault weight-before-cast --json new.json")
        self.run_and_expect(1, "qwen3-parity compare old.json new.json --markdown changes.md", "WORSE")
        self.assertIn("failing now", self.read("changes.md"))
        self.run_and_expect(3, "qwen3-parity compare old.json new.json --strict", "planted fault")

    def test_a_bound_lets_another_order_pass_and_no_fault(self):
        shutil.copy(EXAMPLES / "gate-bounded.json", self.place.file("gate.json"))
        gate = "qwen3-parity verify --gate gate.json"
        self.run_and_expect(0, gate)
        self.run_and_expect(0, f"{gate} --fault wrong-split", "local mismatches 21,")
        for fault in ("residual-before-cast", "fused-weight-before-cast", "online-softmax", "silu-in-f32"):
            self.run_and_expect(1, f"{gate} --fault {fault}")

    def test_a_bound_that_matches_no_row(self):
        bound = {"key": "no/such", "max_ulp": 1, "error_factor": 1, "reason": "none"}
        self.gate(1, {"name": "a", "only": FEW_ROWS, "bounded": [bound]}, says="matches no row")

    # ---- What may not be compared ----

    def test_another_golden(self):
        self.gate(3, {"name": "a", "golden_sha256": "0" * 64}, says="is not the one that the gate's run 'a' names")

    def test_a_golden_of_another_model(self):
        shutil.copytree(self.place.share / "qwen3-tiny", self.place.file("model"))
        weights = self.place.file("model/model.safetensors")
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        golden = str(self.place.share / "qwen3-tiny.h5")
        self.gate(3, {"name": "a", "model": "model", "golden": golden}, says="another model")

    def test_a_filter_that_matches_nothing(self):
        self.gate(5, {"name": "a", "only": "no/such/key"}, {"name": "b", "only": FEW_ROWS})
        self.gate(1, {"name": "a", "only": "no/such/key"}, {"name": "b", "only": FEW_ROWS},
                  more="--fault weight-before-cast")

    def test_a_policy_that_is_misspelt(self):
        self.gate(3, {"name": "a", "waiver": []}, says="is no member that a gate knows")
        self.gate(2, {"name": "a"}, more="--run b", says="has no run 'b'")
        self.gate(2, {"name": "a", "plan": "fused"}, more="--fault weight-before-cast", says="no such node")

    def test_the_example_for_a_card_is_read(self):
        # What it ends with is that there is no card or, where there is one, that the baseline is missing.
        shutil.copy(EXAMPLES / "ci" / "gate-gpu.json", self.place.file("gate.json"))
        self.run_and_expect(3, "qwen3-parity verify --gate gate.json --run fused", "qwen3-parity: run 'fused'")

    # ---- Waivers ----

    def waived(self, **more):
        return {"name": "a", "only": FEW_ROWS, "waivers": [ON_Q_NORM | more]}

    def test_a_waiver_that_is_needed(self):
        self.gate(1, {"name": "a", "only": FEW_ROWS}, more="--fault weight-before-cast")
        self.gate(0, self.waived(), more="--fault weight-before-cast", says="waived: known, being mended")
        cases = xml.etree.ElementTree.parse(self.place.file("out/a/junit.xml")).iter("testcase")
        self.assertEqual({len(c.findall("skipped")) for c in cases}, {1})

    def test_a_waiver_covers_its_own_rows_only(self):
        self.gate(1, self.waived(mode="local"), more="--fault weight-before-cast", says="waived")
        self.gate(1, self.waived() | {"only": "one_token/*norm"}, more="--fault weight-before-cast", says="waived")

    def test_a_waiver_that_has_expired(self):
        self.gate(1, self.waived(expires="2026-01-31"), more="--fault weight-before-cast", says="expired on 2026-01-31")

    def test_a_waiver_that_nothing_needs(self):
        self.gate(1, self.waived(), says="is needed by no row")

    # ---- Speed ----

    def timed(self, max_slow_down):
        return {"name": "a", "only": FEW_ROWS, "speed": {"baseline": "baseline.json", "max_slow_down": max_slow_down}}

    def test_as_fast_as_the_baseline(self):
        self.run_and_expect(0, BENCH)
        # A busy machine may be three times as slow for a moment, and is not to fail a test.
        self.write("baseline.json", faster(json.loads(self.read("baseline.json")), 1 / 3))
        self.gate(0, self.timed(10), says="NOT WORSE")
        self.run_and_expect(0, "qwen3-parity report out/a/report.json out/a/bench.json --html page.html")

    def test_only_slower(self):
        self.run_and_expect(0, BENCH)
        self.write("baseline.json", faster(json.loads(self.read("baseline.json")), 10))
        self.gate(4, self.timed(2), says="SLOWER")
        self.assertIn("SLOWER", self.read("out/a/summary.md").splitlines()[0])
        self.assertIn('name="slower than the baseline"', self.read("out/a/junit.xml"))
        self.assertIn("It is slower:", self.read("out/a/report.html"))
        self.run_and_expect(4, "qwen3-parity report out/a/report.json out/a/bench.json")
        self.gate(1, self.timed(2), more="--fault weight-before-cast")  # what is wrong is not timed

    def test_a_baseline_of_another_machine(self):
        self.run_and_expect(0, BENCH)
        baseline = json.loads(self.read("baseline.json"))
        baseline["environment"]["cpu"] = "another processor"
        self.write("baseline.json", baseline)
        self.gate(3, self.timed(2), says="another processor")
        self.assertTrue(self.place.file("out/a/report.json").exists())
        self.assertFalse(self.place.file("out/a/report.json.rows.jsonl").exists(), "the rows were judged and written")

    # ---- A run that did not end ----

    def test_the_rows_of_a_run_that_was_killed(self):
        rows = self.place.file("report.json.rows.jsonl")
        run = self.place.start("verify", "--json", "report.json", OMP_NUM_THREADS="1")
        while run.poll() is None and not (rows.exists() and rows.read_bytes().count(b"\n") > 20):
            time.sleep(0.002)
        run.send_signal(signal.SIGKILL)
        self.assertEqual(run.wait(), -signal.SIGKILL, "the run ended before it could be killed")
        self.assertFalse(self.place.file("report.json").exists())
        output = self.run_and_expect(1, f"qwen3-parity report {rows.name} --json rows.json", "the run did not end")
        self.assertGreaterEqual(int(re.search(r"FAIL  (\d+) rows", output)[1]), 20)
        self.assertTrue(all(r["verdict"] == "pass" for r in json.loads(self.read("rows.json"))["rows"]))
        self.run_and_expect(0, "qwen3-parity verify --json report.json")
        self.assertFalse(rows.exists(), "rows must go when the report is there")


def main():
    with place_from_arguments(__doc__) as Stories.place:
        result = unittest.main(argv=[sys.argv[0]], exit=False, verbosity=2).result
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
