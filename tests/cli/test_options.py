"""The options that several commands share."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner, Result

from lbnet.cli import options
from lbnet.types import Address


@click.command
@options.connect("The controller.")
@options.as_json
def command(connect: Address | None, as_json: bool) -> None:
    click.echo(f"{connect!r} {as_json}")


@click.command
@options.connect("The controller.", default="127.0.0.1:7077", show_default=True)
def with_default(connect: Address) -> None:
    click.echo(repr(connect))


@click.command
@options.deadline("How long.")
def with_deadline(deadline: float | None) -> None:
    click.echo(repr(deadline))


def run(*args: str, env: str | None = None, of: click.Command = command) -> Result:
    return CliRunner().invoke(of, args, env={"LBNET_ADDRESS": env})


def test_an_address_is_parsed() -> None:
    assert run("--connect", "10.0.0.5:99").output == f"{Address('10.0.0.5', 99)!r} False\n"
    assert run("--connect", "[::1]:99", "--json").output == f"{Address('::1', 99)!r} True\n"
    assert run("--connect", "node7").output == f"{Address('node7', 7077)!r} False\n"


def test_the_environment_stands_in_and_the_option_wins() -> None:
    assert run(env="node7:1").output == f"{Address('node7', 1)!r} False\n"
    assert run("--connect", "node8:2", env="node7:1").output == f"{Address('node8', 2)!r} False\n"


@pytest.mark.parametrize("empty", [None, ""])
def test_without_either_there_is_none_or_the_default(empty: str | None) -> None:
    assert run(env=empty).output == "None False\n"
    assert run(env=empty, of=with_default).output == f"{Address('127.0.0.1', 7077)!r}\n"


@pytest.mark.parametrize("wrong", ["host:port", "host:", ":1", "host:99999", "a b:1", "host:0", "1:2:3x"])
def test_what_is_no_address_is_refused_with_the_form_of_one(wrong: str) -> None:
    result = run("--connect", wrong)
    assert result.exit_code == 2
    assert f"{wrong!r} is not an address: write HOST:PORT" in result.output


def test_a_wrong_address_in_the_environment_says_where_it_comes_from() -> None:
    result = run(env="host:port")
    assert result.exit_code == 2
    assert "Invalid value for LBNET_ADDRESS: 'host:port' is not an address" in result.output


def test_the_help_says_how_to_write_it_and_what_stands_for_it() -> None:
    text = " ".join(run("--help", of=with_default).output.split())
    assert "--connect HOST:PORT" in text
    assert "env var: LBNET_ADDRESS" in text
    assert "default: 127.0.0.1:7077" in text


def test_a_deadline_is_seconds_and_not_too_few() -> None:
    assert run(of=with_deadline).output == "None\n"
    assert run("--deadline", "2.5", of=with_deadline).output == "2.5\n"
    for wrong in ("0", "-1", "0.05", "soon"):
        assert run("--deadline", wrong, of=with_deadline).exit_code == 2
