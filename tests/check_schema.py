"""reports/schema.json: it accepts what the program writes, of real runs and made by hand, and nothing else."""
import copy
import fnmatch
import json
import pathlib
import sys
import unittest

import report_runs

try:
    import jsonschema
except ImportError:
    print(f"skipped: {sys.executable} lacks jsonschema (Debian: python3-jsonschema)")
    sys.exit(77)

REPORTS = pathlib.Path(__file__).resolve().parent.parent / "reports"
SCHEMA = report_runs.read(REPORTS / "schema.json")
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

# Name -> arguments, exit code.
RUNS = {
    "verify_all": (["verify"], 0),
    "verify_fault": (["verify", "--fault", "weight-before-cast"], 1),
    "verify_fused": (["verify", "--plan", "fused"], 0),
    "verify_only": (["verify", "--only", "aistonia/prefill/*"], 0),
    "bench_all": (["bench", "--backend", "cpu", "--samples", "2", "--prefill", "4", "--context", "3"], 0),
    "bench_fault": (["bench", "--samples", "1", "--prefill", "4", "--context", "3", "--fault", "mask-off-by-one"], 1),
    "bench_golden": (["bench", "--golden", "embedded", "--phase", "decode", "--samples", "1", "--only", "*q_proj"], 0),
}

# Members that may be absent; * is anything.
OPTIONAL = (
    "environment/flags", "golden/attributes/*", "gate", "rows/*/excuse", "rows/*/origin", "*/errors/*/nonfinite",
    "*/origin/*/nonfinite", "host", "host/others", "rows/*/extents/*", "*clock_hz", "*/launches_per_sample",
    "*/bytes_per_second", "*/flops_per_second", "*/macs_per_second", "*/copy_share", "*/read_share",
    "*/product_share", "rows/*/share", "*/speed_up", "steps/*/next_token", "steps/*/wall",
    "steps/*/tokens_per_second", "steps/*/one_thread", "steps/*/readings", "*/of_openblas", "*/of_f32_loop",
)


def complaints(document):
    return [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:300]}" for e in VALIDATOR.iter_errors(document)]


def kind(row):
    return sorted(row), bool(row.get("worst")), row.get("mode"), row.get("protocol"), row.get("verdict")


def thin(document):
    """The document with one row of each kind, for many mutants."""
    kinds = {json.dumps(kind(row)): row for row in document["rows"]}
    return {**document, "rows": list(kinds.values())}


def places(value, path=()):
    """(path, parent, key) of everything below; in a path * stands for an index."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in members:
        here = path + ("*" if isinstance(value, list) else key,)
        yield "/".join(here), value, key
        yield from places(child, here)


def subschemas(schema):
    yield schema
    for child in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(child, (dict, list)):
            yield from subschemas(child)


def members_of_schema():
    """(name, schema) of each member that the schema describes."""
    for schema in subschemas(SCHEMA):
        if isinstance(schema, dict) and schema.get("type") == "object":
            yield from schema.get("properties", {}).items()


class Schema(unittest.TestCase):
    documents = {}

    def refuse(self, document, what):
        self.assertTrue(complaints(document), f"the schema accepts {what}")

    def test_it_is_a_schema(self):
        jsonschema.Draft202012Validator.check_schema(SCHEMA)

    def test_every_member_is_described_and_every_object_closed(self):
        for name, schema in members_of_schema():
            text = schema.get("description") or SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[-1]]["description"]
            self.assertTrue(text.endswith("."), name)
        for schema in subschemas(SCHEMA):
            if not isinstance(schema, dict) or schema.get("type") != "object":
                continue
            open_ones = SCHEMA, SCHEMA["$defs"]["time"]  # one has two closed forms, the other is a part of closed ones
            closed = "additionalProperties" in schema or schema.get("unevaluatedProperties") is False
            self.assertTrue(closed or schema in open_ones, schema.get("description"))

    def test_every_member_is_in_the_readme(self):
        readme = (REPORTS / "README.md").read_text(encoding="utf-8")
        for name, _ in members_of_schema():
            self.assertTrue(f"`{name}`" in readme, f"reports/README.md does not explain {name}")

    def test_what_is_written_is_valid(self):
        for name, document in self.documents.items():
            with self.subTest(name):
                self.assertEqual(complaints(document)[:5], [])

    def test_each_member_is_needed_and_of_its_type_and_there_is_no_other(self):
        seen = set()
        for name, document in self.documents.items():
            document = thin(document)
            for path, parent, key in [("", {"": document}, ""), *places(document)]:
                value = parent[key]
                sort = name.split("_")[0] == "bench", path, type(value)
                if sort in seen:
                    continue
                seen.add(sort)
                with self.subTest(f"{name}: {path}"):
                    self.change_and_refuse(document, path, parent, key)
        self.assertGreater(len(seen), 250)

    def change_and_refuse(self, document, path, parent, key):
        value = parent[key]
        if isinstance(value, dict):
            value["extra"] = {"extra": None}
            self.refuse(document, "another member")
            del value["extra"]
        if not path:
            return
        parent[key] = 1 if isinstance(value, dict) else {"wrong": None}
        self.refuse(document, "another type")
        optional = isinstance(parent, list) or any(fnmatch.fnmatchcase(path, pattern) for pattern in OPTIONAL)
        if isinstance(parent, dict):
            members = list(parent.items())
            del parent[key]
            self.assertEqual(not complaints(document), optional, "accepted without it; is it optional?")
            parent.clear()
            parent.update(members)  # in the same order
        parent[key] = value

    def test_values_have_their_forms(self):
        document = thin(self.documents["verify"])
        bench = thin(self.documents["bench_all"])
        failed = next(i for i, row in enumerate(document["rows"]) if row["worst"])
        local = next(i for i, row in enumerate(document["rows"]) if row["mode"] == "local")
        wrong = [
            (document, ("schema",), "qwen3-parity-verify/3"), (document, ("left_out",), -1),
            (document, ("left_out",), 1.5), (document, ("left_out",), 2 ** 53 + 2), (document, ("left_out",), "12"),
            (document, ("seconds",), "nan"), (document, ("environment", "time"), "2025-01-31 12:00"),
            (document, ("backend",), "tpu"), (document, ("fault",), False), (document, ("complete",), 1),
            (document, ("rows", failed, "mode"), "both"), (document, ("rows", failed, "verdict"), "FAIL"),
            (document, ("rows", failed, "gate"), "loose"), (document, ("rows", failed, "dtype"), "f16"),
            (document, ("rows", failed, "shape"), [1] * 5), (document, ("rows", failed, "max_abs"), "NaN"),
            (document, ("rows", failed, "golden_sha256"), "A" * 64),
            (document, ("rows", failed, "ours_sha256"), "a" * 63),
            (document, ("rows", failed, "worst", 0, "golden_bits"), "0x3F80"),
            (document, ("rows", failed, "worst", 0, "ours_bits"), "3f80"),
            (document, ("rows", local, "origin"), {}), (document, ("summary", "verdict"), "waived"),
            (bench, ("schema",), "qwen3-parity-verify/2"), (bench, ("rows", 0, "no_time"), "a time and none"),
            (bench, ("rows", 0, "protocol"), "warm"), (bench, ("steps", 0, "logits"), "some"),
            (bench, ("steps", 0, "name"), "encode"), (bench, ("rows", 0, "verified"), "yes"),
        ]
        right = [
            (document, ("left_out",), 2 ** 53), (document, ("left_out",), "9007199254740993"),
            (document, ("rows", failed, "max_abs"), "nan"), (document, ("rows", failed, "max_abs"), "-inf"),
            (document, ("environment", "time"), "unknown"), (bench, ("seed",), "18446744073709551615"),
        ]
        for base, path, value in wrong + right:
            changed = copy.deepcopy(base)
            parent = changed
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = value
            with self.subTest(f"{'/'.join(map(str, path))} = {value}"):
                self.assertEqual(bool(complaints(changed)), (base, path, value) in wrong)

    def test_another_document_is_refused(self):
        for document in ({}, [], None, {"schema": "qwen3-parity-golden/1"}, {"schema": "qwen3-parity-bench/1"},
                         {"schema": "qwen3-parity-verify/2"}):
            self.refuse(document, json.dumps(document))


def main():
    options = report_runs.arguments()
    Schema.documents = report_runs.reports_by_hand(options)
    for name, (arguments, code) in RUNS.items():
        path = options.work / f"{name}.json"
        report_runs.run([options.program, *arguments, "--json", path], code)
        Schema.documents[name] = report_runs.read(path)
    unittest.main(argv=[sys.argv[0]])


if __name__ == "__main__":
    main()
