"""The installed program, for the tests of what users copy: examples/ and docs/. Standard library only."""

import argparse
import os
import pathlib
import shutil
import subprocess
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parent.parent
EXAMPLES = SOURCE / "examples"


class Place:
    """A folder that goes at the end, with the program installed in it and a project's folder to work in."""

    def __init__(self, build):
        self._folder = tempfile.TemporaryDirectory(prefix="qwen3-parity-")
        self.prefix = pathlib.Path(self._folder.name) / "prefix"
        self.project = pathlib.Path(self._folder.name) / "project"
        self.project.mkdir()
        subprocess.run(["cmake", "--install", build, "--prefix", self.prefix], check=True, stdout=subprocess.DEVNULL)
        self.share = self.prefix / "share" / "qwen3-parity"
        unwanted = {"GITHUB_STEP_SUMMARY", "NO_COLOR", "QP_VECTORS"}
        self.environment = {k: v for k, v in os.environ.items() if k not in unwanted}
        self.environment["PATH"] = f"{self.prefix / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._folder.cleanup()

    def file(self, name):
        return self.project / name

    def clear(self):
        shutil.rmtree(self.project)
        self.project.mkdir()

    def shell(self, script, **environment):
        """As a CI service runs it: the exit code is that of the first command that fails."""
        return subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], cwd=self.project, capture_output=True,
                              text=True, env=self.environment | environment)

    def start(self, *arguments, **environment):
        """The program, while it runs."""
        return subprocess.Popen([self.prefix / "bin" / "qwen3-parity", *arguments], cwd=self.project,
                                env=self.environment | environment, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)


def place_from_arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("build", type=pathlib.Path, help="the folder of a build that is ready to be installed")
    return Place(parser.parse_args().build)
