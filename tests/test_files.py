"""Files are read with an error that names them; `write_atomic` has its tests in test_dataset."""

import gzip
import math

import pandas as pd
import pytest

from seedfree._files import absent, csv_line, csv_rows, file_text, json_rows, read_json, utf8_text
from seedfree.errors import ConfigError


def test_plain_text_loses_its_mark_and_has_one_line_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffก\r\nข\rค\n".encode())
    assert utf8_text(path) == "ก\nข\nค\n"
    assert file_text(path) == "ก\r\nข\rค\n"


def test_packed_text_is_unpacked(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress("\ufeffก".encode()))
    assert file_text(path) == "ก"


@pytest.mark.parametrize("read", [utf8_text, file_text, read_json])
@pytest.mark.parametrize("name", ["none.json", "folder", "latin.json"])
def test_what_cannot_be_read_is_one_line_with_its_name(tmp_path, read, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.json").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=name) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_row_of_csv_comes_back(tmp_path):
    cells = ["ก", 'say "x", then', "two\nlines", ""]
    assert csv_rows(tmp_path, csv_line(cells) * 2) == [(1, cells), (3, cells)]


@pytest.mark.parametrize("named", ["sep=;\r\n", '"SEP=;"\n', "\nsep=;\n"])
def test_excel_may_name_the_separator_before_the_header(tmp_path, named):
    rows = csv_rows(tmp_path, f"{named}a;b,c,d\nsep=1;2\n")
    assert [cells for _, cells in rows] == [["a", "b,c,d"], ["sep=1", "2"]]


def test_lines_of_json_are_numbered_and_lists_opened(tmp_path):
    text = '{"a": "\u2028"}\n\n[{"b": 1}, {"c": 2}]\n'
    assert list(json_rows(tmp_path, text)) == [(1, {"a": "\u2028"}), (3, {"b": 1}), (3, {"c": 2})]
    with pytest.raises(ConfigError, match="line 2: not a JSON object"):
        list(json_rows(tmp_path, "{}\n3"))


def test_empty_cells_of_every_kind():
    assert all(map(absent, [None, math.nan, float("nan"), pd.NA]))
    assert not any(map(absent, ["", "nan", 0, False, [], 1.5]))


def test_json_in_another_encoding_is_no_fault_of_its_json(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes('{"a": "ก"}'.encode("utf-16"))
    with pytest.raises(ConfigError, match="a.json is not UTF-8 text"):
        read_json(path)
