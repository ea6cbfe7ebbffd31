#!/usr/bin/env python3
"""The examples of examples/ci as a CI service runs them: the commands of their CPU jobs, with the program installed.

What installs it is left out, since that is the test's own beginning: of GitHub's jobs the steps whose name begins with
"Install", of GitLab's the before_script. Exit code 77, skipped, without a YAML parser (Debian: python3-yaml)."""

import shutil
import sys

from installed import EXAMPLES, place_from_arguments

try:
    import yaml
except ImportError:
    print("there is no YAML parser for this Python; Debian's is python3-yaml")
    sys.exit(77)

REPORT_FILES = ("report.html", "report.json", "junit.xml", "summary.md")


def read(name):
    return yaml.safe_load((EXAMPLES / "ci" / name).read_text())


def begin_project(place):
    """What README.md tells to copy."""
    place.clear()
    place.file("parity").mkdir()
    shutil.copy(EXAMPLES / "ci" / "gate.json", place.file("parity"))


def run(place, script, **environment):
    result = place.shell(script, **environment)
    assert result.returncode == 0, f"{script}\nexit code {result.returncode}\n{result.stdout}{result.stderr}"


def assert_reports(folder):
    for name in ("reference", "fused"):
        for file in REPORT_FILES:
            path = folder / name / file
            assert path.is_file() and path.stat().st_size > 0, f"{path} is missing or empty"


def check_github(place):
    job = read("github-actions.yml")["jobs"]["cpu"]
    begin_project(place)
    summary = place.file("step-summary.md")
    for step in job["steps"]:
        if "run" in step and not step["name"].startswith("Install"):
            run(place, step["run"], GITHUB_STEP_SUMMARY=str(summary))
    upload = next(s for s in job["steps"] if s.get("uses", "").startswith("actions/upload-artifact"))
    assert upload["if"] == "always()", "the report of a merge that fails must be kept"
    assert_reports(place.file(upload["with"]["path"]))
    runs = sorted(place.file(upload["with"]["path"]).glob("*/summary.md"))
    for path in runs:
        assert path.read_text() in summary.read_text(), f"{path} is not in GitHub's summary"


def check_gitlab(place):
    jobs = read("gitlab-ci.yml")
    job = jobs[".parity"] | jobs["parity-cpu"]
    begin_project(place)
    run(place, "\n".join(job["script"]))
    artifacts = job["artifacts"]
    assert artifacts["when"] == "always", "the report of a merge that fails must be kept"
    for path in artifacts["paths"]:
        assert_reports(place.file(path))
    assert len(sorted(place.project.glob(artifacts["reports"]["junit"]))) == 2, "one junit.xml for each run"
    assert jobs["parity-gpu"]["allow_failure"]["exit_codes"] == [4]


def check_both_run_the_same(place):
    """The two services have the same gate, or one of the examples is out of date."""
    del place
    github = read("github-actions.yml")["jobs"]
    gitlab = read("gitlab-ci.yml")
    gate = next(s["run"] for s in github["cpu"]["steps"] if s.get("name") == "Gate")
    assert gitlab["parity-cpu"]["script"] == [gate]
    gpu = next(s["run"] for s in github["gpu"]["steps"] if s.get("name") == "Gate")
    assert gitlab["parity-gpu"]["script"][0] in gpu


def main():
    with place_from_arguments(__doc__.splitlines()[0]) as place:
        for check in (check_github, check_gitlab, check_both_run_the_same):
            check(place)
            print(f"{check.__name__}: as it should be")


if __name__ == "__main__":
    main()
