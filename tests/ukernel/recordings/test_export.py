"""A recording is written for other programs: what they read is what was recorded, and nothing is invented."""

import csv
import json
import struct
import wave

import numpy as np
import pytest
from mcap.reader import make_reader
from recordingmaker import BEGAN, RecordingMaker

from ukernel.cli import main
from ukernel.errors import RecordingError, UsageError
from ukernel.recordings import export, load
from ukernel.recordings.alignment import Alignment


@pytest.fixture
def make(tmp_path):
    return lambda name="x.mcap", **options: RecordingMaker(tmp_path / name, **options)


@pytest.fixture
def rig(make):
    """A fast pipe, a slow one, and one that is not there all the time."""
    maker = make(
        formats={"adc": "<f", "temp": "<h", "xy": "<ff"}, units={"adc": ["V"], "temp": ["°C"]}, names={"xy": ["x", "y"]}
    )
    adc, temp, xy, log = (maker.open(name) for name in ("adc", "temp", "xy", "log"))
    maker.put(adc, struct.pack("<6f", 0.1, 0.2, 0.3, 0.4, 0.5, 0.6), 4, BEGAN, BEGAN + 0.5)
    maker.put(temp, struct.pack("<hh", 20, 21), 2, BEGAN + 0.02, BEGAN + 0.42)
    maker.put(xy, struct.pack("<ff", 1, 2), 8, BEGAN + 0.25)
    maker.put(log, b"hello", 5, BEGAN + 0.3)
    return maker.end()


def rows_of(path, separator=","):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file, delimiter=separator))


def test_csv_has_units_and_times_that_excel_reads(rig, tmp_path):
    report = export(rig, tmp_path / "x.csv", pipes="adc")
    rows = rows_of(tmp_path / "x.csv")
    assert rows[0] == ["time (UTC)", "seconds", "adc [V]"] and report.rows == 6
    assert rows[1] == ["2023-11-14 22:13:20.000", "0.000000", "0.1"] and rows[6][1:] == ["0.500000", "0.6"]
    assert (tmp_path / "x.csv").read_bytes().startswith(b"\xef\xbb\xbf")  # so that Excel shows °


def test_several_pipes_are_one_table_without_invented_values(rig, tmp_path):
    export(rig, tmp_path / "x.csv", pipes=["adc", "temp", "xy"])
    rows = rows_of(tmp_path / "x.csv")
    assert rows[0][2:] == ["adc [V]", "temp [°C]", "xy.x", "xy.y"]
    assert [row[3] for row in rows[1:]] == ["20", "", "", "", "21", ""]
    assert [row[4] for row in rows[1:]].count("1.0") == 1
    export(rig, tmp_path / "wide.csv", pipes=["adc", "temp"], tolerance=10)
    assert [row[3] for row in rows_of(tmp_path / "wide.csv")[1:]] == ["20", "20", "20", "21", "21", "21"]
    export(rig, tmp_path / "none.csv", pipes=["adc", "temp"], tolerance=0)
    assert {row[3] for row in rows_of(tmp_path / "none.csv")[1:]} == {""}
    export(rig, tmp_path / "slow.csv", pipes=["adc", "temp"], on="temp")
    assert [row[2:] for row in rows_of(tmp_path / "slow.csv")[1:]] == [["0.1", "20"], ["0.5", "21"]]


def test_with_semicolons_numbers_have_commas(rig, tmp_path):
    export(rig, tmp_path / "x.csv", pipes="adc", separator=";")
    assert rows_of(tmp_path / "x.csv", ";")[2][1:] == ["0,100000", "0,2"]


def test_bytes_are_written_in_hexadecimal(rig, tmp_path):
    export(rig, tmp_path / "x.csv", pipes="log")
    assert rows_of(tmp_path / "x.csv")[1][2] == b"hello".hex()


def test_a_piece_is_exported_by_its_seconds(rig, tmp_path):
    assert export(rig, tmp_path / "x.csv", pipes="adc", start=0.15, stop=0.35).rows == 2
    assert export(load(rig)[0.15:0.35], tmp_path / "y.csv", pipes="adc").rows == 2


def test_pandas_reads_csv_and_parquet(rig, tmp_path):
    pandas = pytest.importorskip("pandas")
    export(rig, tmp_path / "x.csv", pipes=["adc", "temp"])
    frame = pandas.read_csv(tmp_path / "x.csv", parse_dates=["time (UTC)"])
    assert frame["adc [V]"].tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6] and frame["temp [°C]"].count() == 2
    assert str(frame["time (UTC)"].dtype).startswith("datetime64")
    pytest.importorskip("pyarrow")
    export(rig, tmp_path / "x.parquet", pipes=["adc", "temp"])
    found = pandas.read_parquet(tmp_path / "x.parquet")
    assert found["adc"].dtype == np.float32 and found["temp"].dropna().tolist() == [20, 21]
    assert found["time"].dt.tz is not None


def test_arrow_and_parquet_keep_types_units_and_times(rig, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import ipc, parquet

    export(rig, tmp_path / "x.arrow")
    export(rig, tmp_path / "x.parquet")
    for table in (ipc.open_file(tmp_path / "x.arrow").read_all(), parquet.read_table(tmp_path / "x.parquet")):
        assert table.schema.field("adc").type == pyarrow.float32() and table.schema.field("temp").type == pyarrow.int16()
        assert table.schema.field("adc").metadata[b"unit"] == b"V"
        assert table["temp"].to_pylist() == [20, None, None, None, 21, None]
        assert table["log"].drop_null().to_pylist() == [b"hello"]


def test_pipes_become_data_frames(rig):
    pandas = pytest.importorskip("pandas")
    recording = load(rig)
    frame = recording["xy"].to_pandas()
    assert list(frame.columns) == ["x", "y"] and frame.index[0] == pandas.Timestamp(BEGAN + 0.25, unit="s", tz="UTC")
    assert recording["adc"].to_pandas().attrs["units"] == {"adc": "V"}
    whole = recording.to_pandas()
    assert whole["temp"].dropna().tolist() == [20, 21] and len(whole) == 6 and list(whole["xy.x"].dropna()) == [1.0]


def test_polars_and_arrow_get_the_same(rig):
    polars = pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    recording = load(rig)
    assert recording["temp"].to_polars()["temp"].dtype == polars.Int16
    assert recording["adc"].to_arrow()["adc"].to_pylist() == recording["adc"].values.tolist()
    assert recording.to_polars()["temp"].to_list() == [20, None, None, None, 21, None]


def test_any_format_becomes_a_table_of_any_library(make):
    pytest.importorskip("pandas"), pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    maker = make(formats={"big": ">dd", "mixed": "<hf", "half": "<e", "flag": "?", "word": "<4s"})
    for name, data, size in (
        ("big", struct.pack(">dd", 1, 2), 16),
        ("mixed", struct.pack("<hf", 3, 0.5), 6),
        ("half", struct.pack("<e", 1.5), 2),
        ("flag", b"\1", 1),
        ("word", b"word", 4),
    ):
        maker.put(maker.open(name), data * 2, size, BEGAN, BEGAN + 1)
    recording = load(maker.end())
    wanted = {"big": [1.0, 2.0], "mixed": [3, 0.5], "half": [1.5], "flag": [True], "word": [b"word"]}
    for name, values in wanted.items():
        pipe = recording[name]
        assert pipe.to_pandas().iloc[1].tolist() == values and (pipe.to_pandas() == pipe.to_pandas()).all().all()
        assert list(pipe.to_polars().row(1)[1:]) == values
        assert [column.to_pylist()[1] for column in pipe.to_arrow().columns[1:]] == values
    assert recording.to_pandas()["big.0"].tolist() == [1.0, 1.0] and recording.to_polars()["mixed.1"].to_list() == [0.5, 0.5]


def test_a_pipe_becomes_a_sound(make, tmp_path):
    maker = make(formats={"mic": "<h", "adc": "<H", "stereo": "<hh", "float": "<f"})
    count = 400
    tone = (1000 * np.sin(np.arange(count) / 5)).astype("<i2")
    for name, values, size in (
        ("mic", tone, 2),
        ("adc", (tone.astype(int) + 32768).astype("<u2"), 2),
        ("stereo", np.repeat(tone, 2), 4),
        ("float", tone.astype("<f4"), 4),
    ):
        maker.put(maker.open(name), values.tobytes(), size, BEGAN, BEGAN + (count - 1) / 8000)
    path = maker.end()
    for name in ("mic", "adc", "stereo"):
        report = export(path, tmp_path / f"{name}.wav", pipes=name)
        with wave.open(str(tmp_path / f"{name}.wav")) as sound:
            assert (sound.getframerate(), sound.getsampwidth(), sound.getnframes()) == (8000, 2, count) and report.rows == count
            found = np.frombuffer(sound.readframes(count), "<i2").reshape(count, -1)
            assert (found[:, 0] == tone).all()
    export(path, tmp_path / "f.wav", pipes="float", rate=44100)
    data = (tmp_path / "f.wav").read_bytes()
    assert struct.unpack_from("<HHI", data, 20) == (3, 1, 44100) and data[-4 * count :] == tone.astype("<f4").tobytes()
    with pytest.raises(UsageError, match="one pipe"):
        export(path, tmp_path / "all.wav")


def test_a_message_a_sample_is_what_other_tools_draw(rig, tmp_path):
    report = export(rig, tmp_path / "samples.mcap")
    with (tmp_path / "samples.mcap").open("rb") as file:
        found = [
            (channel.topic, schema.name, message.log_time, message.data)
            for schema, channel, message in make_reader(file).iter_messages()
        ]
    assert len(found) == report.rows == 6 + 2 + 2 and "log is left out" in report.describe()
    adc = [(time, data) for topic, schema, time, data in found if topic == "/kitchen/adc"]
    assert [struct.unpack("<4sf", data)[1] for _, data in adc] == [
        float(np.float32(value)) for value in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    ]
    assert adc[0][0] == int(BEGAN * 1e9) and {topic for topic, *_ in found} == {
        "/kitchen/adc",
        "/kitchen/temp",
        "/kitchen/xy/x",
        "/kitchen/xy/y",
    }


def test_losses_and_torn_ends_are_told(make, tmp_path):
    maker = make(formats={"*": "<h"})
    adc = maker.open("adc")
    maker.put(adc, struct.pack("<h", 1), 2, BEGAN)
    maker.lose(adc, 3)
    maker.flush()
    said = export(maker.path, tmp_path / "x.csv").describe()
    assert "3 (board) were lost" in said and "no proper end" in said
    maker.end()


def test_a_format_can_be_given_to_what_was_recorded_without(make, tmp_path):
    maker = make()
    maker.put(maker.open("adc"), struct.pack("<hh", 1, 2), 2, BEGAN, BEGAN + 1)
    export(maker.end(), tmp_path / "x.csv", formats="<h")
    assert [row[2] for row in rows_of(tmp_path / "x.csv")] == ["adc", "1", "2"]


def test_what_cannot_be_exported_is_said_and_nothing_is_left(rig, tmp_path):
    before = set(tmp_path.iterdir())
    for to, options, error, words in (
        ("x.xlsx", {}, UsageError, "ending"),
        ("x.csv", {"pipes": "nothing"}, RecordingError, "there is"),
        ("x.csv", {"separator": "x"}, UsageError, "separator"),
        ("x.csv", {"on": "nothing"}, RecordingError, "no pipe"),
        ("x.csv", {"tolerance": -1}, UsageError, "tolerance"),
        ("x.csv", {"start": "noon"}, UsageError, "seconds"),
        ("x.wav", {"pipes": "log"}, UsageError, "sound"),
        ("x.wav", {"pipes": "adc", "rate": 0}, UsageError, "rate"),
        ("x.mcap", {}, UsageError, "recording itself"),
        ("no folder/x.csv", {}, RecordingError, r"x.csv cannot be written: there is no folder .*no folder\. Make it first\.$"),
    ):
        with pytest.raises(error, match=words):
            export(rig, tmp_path / to, **options)
    assert set(tmp_path.iterdir()) == before
    (tmp_path / "x.csv").write_text("mine")
    with pytest.raises(RecordingError, match="there already"):
        export(rig, tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text() == "mine"
    assert export(rig, tmp_path / "x.csv", overwrite=True).rows == 6


def test_where_writing_fails_in_the_middle_nothing_is_left(rig, tmp_path, monkeypatch):
    before = set(tmp_path.iterdir())
    monkeypatch.setattr("ukernel.recordings.wavfile.MAX_BYTES", 50)
    with pytest.raises(UsageError, match="4 GB"):
        export(rig, tmp_path / "x.wav", pipes="adc")
    assert set(tmp_path.iterdir()) == before


def test_a_table_is_read_in_pieces(make, monkeypatch):
    monkeypatch.setattr("ukernel.recordings.alignment.ROWS", 100)
    maker = make(formats={"*": "<f"})
    adc, temp = maker.open("adc"), maker.open("temp")
    for second in range(10):
        maker.put(
            adc, np.arange(100 * second, 100 * second + 100, dtype="<f4").tobytes(), 4, BEGAN + second, BEGAN + second + 0.99
        )
        maker.put(temp, struct.pack("<f", second), 4, BEGAN + second + 0.5)
        maker.flush()
    table = Alignment(load(maker.end()).pipes)
    pieces = list(table.rows())
    assert len(pieces) == 10 and table.tolerance_s == pytest.approx(0.005)
    assert [piece.values[1][piece.present[1]].tolist() for piece in pieces] == [[float(second)] for second in range(10)]


def test_the_command_says_what_it_has_written(rig, tmp_path, capsys):
    to = tmp_path / "x.csv"
    main(["export", str(rig), "adc", "te*", "-o", str(to), "--on", "temp", "--start", "0.1"])
    assert [row[2:] for row in rows_of(to)] == [["adc [V]", "temp [°C]"], ["0.5", "21"]]
    assert ": 1 row, " in capsys.readouterr().err
    main(["export", str(rig), "-o", str(tmp_path / "y.csv"), "--json"])
    assert json.loads(capsys.readouterr().out)["rows"] == 6
    with pytest.raises(SystemExit):
        main(["export", str(rig), "-o", str(to)])
    assert "there already" in capsys.readouterr().err
