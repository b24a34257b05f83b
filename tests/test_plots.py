"""Figures: written as their names say, the same bytes for the same figure, refused in one line."""

import sys

import pytest

from seedfree._plots import new_figure, save_figure
from seedfree.errors import ConfigError


def drawn():
    figure = new_figure(4, 3)
    figure.subplots().plot([1, 2], [3, 4])
    return figure


@pytest.fixture
def figure():
    pytest.importorskip("matplotlib")
    return drawn()


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.png", b"\x89PNG"), ("a", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.PDF", b"%PDF")],
)
def test_the_ending_says_the_format(figure, tmp_path, name, start):
    save_figure(figure, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_picture_is_the_same_bytes_and_names_no_program(figure, tmp_path):
    save_figure(figure, tmp_path / "first.png")
    save_figure(drawn(), str(tmp_path / "second.png"))
    first, second = ((tmp_path / name).read_bytes() for name in ("first.png", "second.png"))
    assert first == second and b"Software" not in first


def test_an_unknown_format_is_one_line_and_leaves_no_file(figure, tmp_path):
    with pytest.raises(ConfigError, match=r"Cannot draw a\.xyz: .*\.png, \.svg or \.pdf") as caught:
        save_figure(figure, tmp_path / "a.xyz")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_without_matplotlib_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"pip install 'seedfree\[report\]'"):
        new_figure(2, 1)
