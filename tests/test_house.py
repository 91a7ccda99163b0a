"""The house is as its papers say: names, layers, licences, documents, sizes."""

import re
import subprocess
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from shared.doctor import OUR_NAMES

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCUMENTS = ("README.md", "PHASES.md", "CONTRIBUTING.md", "docs/gpu.md")


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def test_no_other_distribution_owns_our_names():
    owners = packages_distributions()
    foreign = {name: set(owners.get(name, ())) - {"vermeil"} for name in OUR_NAMES}
    assert not any(foreign.values()), foreign


def test_the_distribution_cannot_be_uploaded():
    assert "Private :: Do Not Upload" in PROJECT["project"]["classifiers"]


def declared() -> set[str]:
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(want for extra in extras for want in extra)]
    names = {re.split(r"[\[<>=;\s]", want)[0] for want in wanted}
    return names - {"vermeil"}


def table(section: str) -> list[str]:
    """The first column of a table in LICENSES.md."""
    text = (ROOT / "LICENSES.md").read_text().partition(f"## {section}")[2].partition("\n## ")[0]
    return [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][1:]


def test_every_dependency_has_its_licence_listed():
    assert sorted(table("Packages")) == sorted(declared())


def test_every_data_set_has_its_licence_listed():
    from data import DATASETS

    assert sorted(table("Data")) == sorted(DATASETS)


def test_every_dependency_is_pinned():
    pins = {
        line.partition("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    assert {name for name in declared() if name.lower() not in pins} == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_files_that_exist(document):
    text = (ROOT / document).read_text()
    named = re.findall(r"`([\w./-]+\.(?:py|md|toml|json|png|yaml|txt|j2))`", text)
    named += re.findall(r"\]\(([\w./-]+)\)", text)
    ours = ["/" + str(path.relative_to(ROOT)) for path in tracked()]
    missing = [name for name in named if not any(path.endswith("/" + name) for path in ours)]
    # Files of an artifact or a home, not of the checkout.
    made = {"config.json", "manifest.json", "report.json", "report.md", "metrics.jsonl", "run.json"}
    assert set(missing) - made == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_commands_that_exist(document):
    import vermeil

    text = (ROOT / document).read_text()
    for line in re.findall(r"vermeil ([a-z]+)(?: ([a-z_]+))?", " ".join(code(text))):
        command, word = line
        assert command in vermeil.RUNS, line
        if command == "train" and word:
            assert word in vermeil.STEPS, line
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    for target in re.findall(r"\bmake ([a-z-]+)", " ".join(code(text))):
        assert target in targets


def code(text: str) -> list[str]:
    """What stands in code blocks and in backticks."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.S)
    return blocks + re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))


def test_the_readme_tree_names_what_is_there():
    tree = next(block for block in code((ROOT / "README.md").read_text()) if "vermeil.py" in block)
    for line in tree.splitlines():
        name = line.split()[0] if line.strip() else ""
        if name:
            assert (ROOT / name).exists(), name


def test_no_file_is_empty_and_none_outgrows_its_purpose():
    lines = {path: len(path.read_text().splitlines()) for path in tracked("*.py")}
    assert [path for path, n in lines.items() if n == 0] == []
    ours = {str(path.relative_to(ROOT)): n for path, n in lines.items()}
    long = {name: n for name, n in ours.items() if n > 400 and not name.startswith("tests")}
    assert long == {}


def test_functions_are_short():
    import ast

    long = []
    for path in (path for path in tracked("*.py") if "tests" not in path.relative_to(ROOT).parts):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 60:
                long.append(f"{path.relative_to(ROOT)}:{node.name} {node.end_lineno - node.lineno}")
    assert long == []


def test_no_registry_address_stands_in_the_tree():
    hosts = re.compile(r"(pypi|npmjs|debian)\.(org|com|net)|registry\.npm|files\.pythonhosted")
    texts = tracked("*.py", "*.md", "*.toml", "Makefile", "*.yaml", ".ci/*", "*.j2")
    found = [p.name for p in texts if hosts.search(p.read_text()) and p.name != "test_house.py"]
    assert found == []
