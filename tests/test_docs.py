"""What the documents name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
# A path in code quotes: of a module without its ending, as the architecture names them, or from the project's top.
PATH = re.compile(r"`((?:[a-z_]\w*/)+[\w.]*)`")
LINK = re.compile(r"\]\((?!\w+:)([^)#]+)")


def _is_there(path: str) -> bool:
    places = (ROOT / path, ROOT / "src" / path, ROOT / "src/ukernel" / path)
    return any(place.exists() or place.with_suffix(".py").exists() for place in places)


@pytest.mark.parametrize("page", [ROOT / "docs/architecture.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_every_module_and_folder_that_is_named_exists(page):
    paths = PATH.findall(page.read_text("utf-8"))
    assert len(paths) > 5
    assert [path for path in paths if not _is_there(path)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page):
    assert [link for link in LINK.findall(page.read_text("utf-8")) if not (page.parent / link).exists()] == []
