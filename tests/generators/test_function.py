import asyncio
import functools

import pytest

from seedfree.errors import ConfigError
from seedfree.generators.function import FunctionGenerator
from seedfree.records import Prompt, Reply, Usage


def shout(prompt):
    return prompt.user.upper()


async def later(prompt):
    return Reply(prompt.user, usage=Usage(3, 4))


def test_a_function_returns_text_a_reply_or_either_later():
    assert FunctionGenerator(shout).generate(Prompt("a")).text == "A"
    reply = Reply("b", model="mine")
    assert FunctionGenerator(lambda prompt: reply, name="fixed").generate(Prompt("a")) is reply

    async def run():
        return await FunctionGenerator(later).generate(Prompt("c"))

    assert asyncio.run(run()).usage == Usage(3, 4)


def test_calls_are_recorded_in_order():
    generator = FunctionGenerator(shout)
    for user in "abc":
        generator.generate(Prompt(user))
    assert [prompt.user for prompt in generator.calls] == ["a", "b", "c"]
    assert generator == FunctionGenerator(shout)


def test_the_name_is_the_functions_own():
    assert FunctionGenerator(shout).identity == "function:shout"
    assert FunctionGenerator(shout, name="loud").identity == "function:loud"


@pytest.mark.parametrize("fn", [lambda prompt: "", functools.partial(shout)])
def test_a_nameless_function_needs_a_name(fn):
    with pytest.raises(ConfigError, match="name="):
        FunctionGenerator(fn)
    assert FunctionGenerator(fn, name="x").identity == "function:x"


def test_what_is_no_function_is_refused():
    with pytest.raises(ConfigError, match="not a function"):
        FunctionGenerator("claude")


def test_an_answer_of_another_type_says_what_is_allowed():
    with pytest.raises(TypeError, match="NoneType; return a str"):
        FunctionGenerator(lambda prompt: None, name="none").generate(Prompt("a"))


def test_errors_of_the_function_pass_through():
    def fails(prompt):
        raise KeyError("x")

    with pytest.raises(KeyError):
        FunctionGenerator(fails).generate(Prompt("a"))
