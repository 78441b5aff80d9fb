"""A file that is whole at every moment: other tools read it, a kill or a full disk costs what was not flushed."""

import errno
import os

import pytest
from mcap.reader import SeekingReader
from mcap.stream_reader import StreamReader

from ukernel.errors import RecordingError
from ukernel.recordings import mcapfile
from ukernel.recordings.mcapfile import McapFile, Mode


def make(path, mode=Mode.NEW):
    file = McapFile(path, mode)
    file.begin("ucore", "a test")
    schema = file.add_schema("a", "jsonschema", b"{}")
    return file, file.add_channel("/a", "json", schema, {"b": "c"}), file.add_channel("/d", "json", schema, {})


def read(path):
    """Data of the messages that can be read from the beginning on."""
    found = []
    with open(path, "rb") as stream:
        try:
            for record in StreamReader(stream, validate_crcs=True).records:
                if type(record).__name__ == "Message":
                    found.append(record.data)
        except Exception:
            pass
    return found


def test_mcaps_own_reader_reads_it_by_its_index(tmp_path):
    path = tmp_path / "x.mcap"
    file, one, other = make(path)
    file.add_metadata("about", {"k": "v"})
    for number in range(10):
        file.add_message(one, 100 * number, 100 * number, b"%d" % number)
        file.add_message(other, 100 * number + 50, 0, b"x")
        if number % 3 == 0:
            file.flush()
    file.finish()
    with path.open("rb") as stream:
        reader = SeekingReader(stream, validate_crcs=True)
        summary = reader.get_summary()
        statistics = summary.statistics
        assert (statistics.message_count, statistics.channel_message_counts, statistics.chunk_count) == (20, {1: 10, 2: 10}, 4)
        assert (statistics.message_start_time, statistics.message_end_time, statistics.metadata_count) == (0, 950, 1)
        found = [
            message.data for _, channel, message in reader.iter_messages(topics=["/a"], starting_at=300, ending_before=600)
        ]
        assert found == [b"3", b"4", b"5"]
        assert [record.metadata for record in reader.iter_metadata()] == [{"k": "v"}]
        assert [message.sequence for _, _, message in reader.iter_messages(topics=["/d"])] == list(range(10))


def test_what_is_flushed_can_be_read_while_the_file_is_written(tmp_path):
    path = tmp_path / "x.mcap"
    file, one, _ = make(path)
    for number in range(5):
        file.add_message(one, number, number, b"%d" % number)
        file.flush()
        assert read(path) == [b"%d" % index for index in range(number + 1)]
    file.abandon()


def test_a_write_that_fails_leaves_the_file_whole_and_forgets_nothing(tmp_path, monkeypatch):
    path = tmp_path / "x.mcap"
    file, one, _ = make(path)
    file.add_message(one, 1, 1, b"first")
    file.flush()
    write = os.write

    def full(fd, data):
        if len(data) > 20:
            return write(fd, data[:20])  # a part of it fits
        raise OSError(errno.ENOSPC, "No space left on device")

    file.add_message(one, 2, 2, b"second")
    with monkeypatch.context() as patched:
        patched.setattr(mcapfile.os, "write", full)
        with pytest.raises(OSError):
            file.flush()
        assert os.path.getsize(path) == file.size_bytes
    assert read(path) == [b"first"]
    file.add_message(one, 3, 3, b"third")
    file.finish()
    assert read(path) == [b"first", b"second", b"third"]


def test_room_for_the_end_is_reserved_and_nothing_of_it_is_seen(tmp_path):
    path = tmp_path / "x.mcap"
    file, one, _ = make(path)
    assert os.listdir(tmp_path) == ["x.mcap"]
    assert file._reserve._size_bytes >= mcapfile.RESERVE_BYTES
    file.add_message(one, 1, 1, b"x")
    file.finish()
    assert file._reserve._file is None


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, None])
def test_room_is_reserved_where_the_file_system_cannot_do_it_by_itself(tmp_path, monkeypatch, number):
    def cannot(*args):
        raise OSError(number, "Operation not supported")

    if number is None:
        monkeypatch.delattr(mcapfile.os, "posix_fallocate")
    else:
        monkeypatch.setattr(mcapfile.os, "posix_fallocate", cannot)
    file, _, _ = make(tmp_path / "x.mcap")
    assert os.fstat(file._reserve._file.fileno()).st_size >= mcapfile.RESERVE_BYTES
    file.finish()


def test_two_writers_never_share_a_file(tmp_path):
    path = tmp_path / "x.mcap"
    file, _, _ = make(path)
    for mode in (Mode.REPLACED, Mode.MENDED):
        with pytest.raises(
            RecordingError, match=r"is just being recorded to by another recorder: `ucore recordings` lists them"
        ):
            McapFile(path, mode)
    file.finish()
    again, _, _ = make(path, Mode.REPLACED)
    again.finish()


def test_a_file_that_is_there_is_not_replaced_without_being_told(tmp_path):
    path = tmp_path / "x.mcap"
    path.write_bytes(b"precious")
    with pytest.raises(RecordingError, match=r"is there already: choose another name, or say overwrite=True"):
        McapFile(path)
    assert path.read_bytes() == b"precious"


def test_a_place_where_no_file_can_be_is_named_with_the_reason(tmp_path):
    with pytest.raises(RecordingError, match=r"there is no folder .*nowhere\. Make it first"):
        McapFile(tmp_path / "nowhere" / "x.mcap")
    with pytest.raises(RecordingError, match="is a folder: name a file in it"):
        McapFile(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(RecordingError, match="there is no folder"):
        McapFile(tmp_path / "file" / "x.mcap")


def test_a_disk_without_room_for_the_end_is_refused_and_left_clean(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mcapfile.os, "posix_fallocate", full)
    with pytest.raises(RecordingError, match=r"the disk is full\. At least 3 MB must be free"):
        McapFile(tmp_path / "x.mcap")
    assert os.listdir(tmp_path) == []
