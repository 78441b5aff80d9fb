"""What is printed of a board's files and packages."""

from ukernel.boards import listing
from ukernel.boards.fileinfo import FileInfo, FileSystem, SyncResult
from ukernel.boards.packages import Package


def test_a_folder_is_listed_with_sizes_below_each_other():
    found = [FileInfo("/lib", True, 0), FileInfo("/a.py", False, 5), FileInfo("/b.bin", False, 12345)]
    assert list(listing.list_folder(found)) == ["        lib/", "     5  a.py", "12,345  b.bin"]


def test_a_tree_is_drawn():
    found = [FileInfo("lib", True, 0), FileInfo("lib/a.py", False, 5), FileInfo("lib/b", True, 0), FileInfo("z", False, 1)]
    assert list(listing.draw_tree(found, "/x")) == ["/x", "├── lib/", "│   ├── a.py  5", "│   └── b/", "└── z  1"]
    assert list(listing.draw_tree([], "")) == ["."]


def test_a_sync_is_told_and_one_that_was_not_done_as_such():
    result = SyncResult(["a"], ["b"], 3)
    assert listing.describe_sync(result) == (["+ a", "- b"], "1 sent, 1 removed, 3 as they should be.")
    assert listing.describe_sync(result, True)[1] == "1 would be sent, 1 would be removed, 3 as they should be."


def test_room_and_packages_are_rows():
    assert listing.space_rows([FileSystem("/", 2000, 500)]) == [("/", "2,000", "1,500", "500")]
    package = Package("driver", "1.2", "github:a/driver", "/lib", ("/lib/driver.py",))
    assert listing.package_rows([package]) == [("driver", "1.2", "ok", "1", "github:a/driver")]
    assert listing.describe_removed(package) == "Removed driver 1.2, 1 file."
    assert listing.describe_removed(package._replace(version="", files=("a", "b"))) == "Removed driver, 2 files."
