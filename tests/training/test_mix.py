from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.dataset import Dataset
from seedfree.errors import ConfigError
from seedfree.records import Instruction, Source
from seedfree.training.data import mix

HUMAN = Source("human", title="set.jsonl", license="CC-BY-4.0")


def side(counts, source, generator):
    """Rows of each task, row task after the other, as files often have them."""
    return Dataset(
        Instruction(
            task, "i", "o", id=f"{generator}-{task}-{k}", source=source, generator=generator
        )
        for task, n in counts.items()
        for k in range(n)
    )


sizes = st.dictionaries(st.sampled_from("abcde"), st.integers(1, 40), min_size=1)


@given(sizes, sizes, st.floats(0, 1), st.floats(0, 1), st.integers(0, 3))
def test_sizes_shares_and_provenance(made, human, ratio, part, seed):
    synthetic, people = side(made, Source(), "m@local"), side(human, HUMAN, "human")
    size = max(
        1, int(part * min(len(synthetic) / (1 - ratio or 1), len(people) / (ratio or 1))) - 1
    )
    of_human = int(size * ratio + 0.5)
    if of_human > len(people) or size - of_human > len(synthetic):
        with pytest.raises(ConfigError, match="are wanted, and there are"):
            mix(synthetic, people, ratio=ratio, size=size, seed=seed)
        return
    mixed = mix(synthetic, people, ratio=ratio, size=size, seed=seed)
    assert mixed == mix(synthetic, people, ratio=ratio, size=size, seed=seed)
    assert len(mixed) == size and len({row.id for row in mixed}) == size
    assert set(mixed) <= {*synthetic, *people}, "the rows themselves, unchanged"
    for whole, name, n in ((synthetic, "m@local", size - of_human), (people, "human", of_human)):
        drawn = Counter(row.task for row in mixed if row.generator == name)
        assert drawn.total() == n
        for task, all_of_it in whole.by_task.items():
            assert abs(drawn[task] - all_of_it * n / len(whole)) < 1 + 1e-9


def test_all_of_both_sides():
    synthetic, people = (
        side({"a": 3, "b": 1}, Source(), "m"),
        side({"a": 2, "c": 2}, HUMAN, "human"),
    )
    mixed = mix(synthetic, people, ratio=0.5, size=8)
    assert set(mixed) == {*synthetic, *people}


def test_the_sides_are_shuffled_and_the_seed_counts():
    synthetic, people = side({"a": 100}, Source(), "m"), side({"a": 100}, HUMAN, "human")
    mixed = mix(synthetic, people, ratio=0.5, size=100)
    assert 15 < sum(row.generator == "human" for row in mixed[:50]) < 35
    other = mix(synthetic, people, ratio=0.5, size=100, seed=1)
    assert {row.id for row in mixed} != {row.id for row in other}


def test_the_row_left_over_goes_to_the_nearer_side():
    synthetic, people = side({"a": 10}, Source(), "m"), side({"a": 10}, HUMAN, "human")
    humans = {
        (ratio, size): sum(
            row.generator == "human" for row in mix(synthetic, people, ratio=ratio, size=size)
        )
        for ratio, size in [(0, 3), (1, 3), (0.5, 3), (0.3, 3), (0.1, 3)]
    }
    assert humans == {(0, 3): 0, (1, 3): 3, (0.5, 3): 2, (0.3, 3): 1, (0.1, 3): 0}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"ratio": 1.1, "size": 2}, "0 to 1"),
        ({"ratio": -0.1, "size": 2}, "0 to 1"),
        ({"ratio": float("nan"), "size": 2}, "0 to 1"),
        ({"ratio": 0.5, "size": 0}, "at least 1"),
        ({"ratio": 0.5, "size": 8}, "4 human rows are wanted, and there are 3"),
        ({"ratio": 0.1, "size": 9}, "8 synthetic rows are wanted, and there are 5"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(values, says):
    with pytest.raises(ConfigError, match=says) as error:
        mix(side({"a": 5}, Source(), "m"), side({"a": 3}, HUMAN, "human"), **values)
    assert "\n" not in str(error.value)


def test_an_empty_side_that_gives_nothing():
    people = side({"a": 3}, HUMAN, "human")
    assert len(mix(Dataset(), people, ratio=1, size=3)) == 3


@pytest.mark.parametrize("wrong", [{"ratio": "0.2"}, {"size": "3"}, {"human": "human.jsonl"}])
def test_an_argument_of_another_type_is_told(wrong):
    rows = side({"a": 4}, Source(), "m@local")
    given = {"synthetic": rows, "human": rows, "ratio": 0.5, "size": 2} | wrong
    with pytest.raises(ConfigError, match=r"ratio='0\.2'|size='3'|The data set is str"):
        mix(**given)
