"""The README does what it says; and the runner that proves it fails where it should."""

from __future__ import annotations

import contextlib
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests import readme
from tests.cli.running import ROOT
from tests.readme import Block, BrokenError, Command, Runner, blocks, check, commands, matches

GOOD = """
# A sample

<!-- clone -->
```sh
git clone https://example.org/someone/lbnet.git
cd lbnet
make demo     # a comment
make test PYTHON=python3.12
```

A module of your own:

```python
# sample_work.py
def double(x):
    return 2 * x
```

<!-- background -->
```console
$ lbnet controller --port 7077
```

<!-- background -->
```sh
# in another terminal
lbnet worker --connect 127.0.0.1:7077 --slots 1
```

<!-- run -->
```sh
export LBNET_ADDRESS=127.0.0.1:7077
mkdir sub
cd sub && printf '1\\n2\\n' > ../items.jsonl
cd ..
lbnet map sample_work:double items.jsonl \\
    -o results.jsonl
```

1. In a list, and from Python:

   ```python
   import lbnet
   from sample_work import double

   with lbnet.Client("127.0.0.1:7077") as client:
       assert list(client.map(double, [1, 2])) == [2, 4]
   ```

<!-- run -->
~~~console
$ cat results.jsonl
2
4
$ lbnet status --connect 127.0.0.1:7077
controller 127.0.0.1:7077, lbnet ..., up ... s, strategy ...
1 worker with 1 slot, 0 other clients
...
$ python -c 'print("any output")'
~~~

It may look like this:

<!-- show -->
```text
p 2   makespan T_p 0.695 s
```
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", ["README.md", "docs/strategies.md"])
def test_the_page_does_what_it_says(page: str, tmp_path: Path) -> None:
    text = (ROOT / page).read_text()
    assert check(text, tmp_path) == text.count("\n```") // 2


def test_a_good_sample_passes_as_a_whole(tmp_path: Path) -> None:
    assert check(GOOD, tmp_path) == 8
    assert (tmp_path / "results.jsonl").read_text() == "2\n4\n"


BROKEN = {
    "a script that raises": ("```python\nimport lbnet\nlbnet.nothing\n```", "AttributeError"),
    "a script that is no Python": ("```python\nx = (\n```", "SyntaxError"),
    "a script that leaves with a code": ("```python\nraise SystemExit(3)\n```", "it ends with code 3"),
    "a command that fails": ("<!-- run -->\n```sh\ntrue\nlbnet frob\ntrue\n```", "'lbnet frob' ends with code 2"),
    "a pipe that fails": ("<!-- run -->\n```sh\nfalse | cat\n```", "'false | cat' ends with code 1"),
    "a command that is not there": ("<!-- run -->\n```sh\nno-such-command\n```", "code 127"),
    "a shell that ends": ("<!-- run -->\n```sh\nexit 4\ntrue\n```", "'exit 4' ends with code 4"),
    "another output": ("<!-- run -->\n```console\n$ echo one\ntwo\n```", "does not print what is shown, but\none"),
    "an output without command": ("<!-- run -->\n```console\none\n```", "begins with a command"),
    "no command": ("<!-- run -->\n```sh\n# only words\n```", "there is no command"),
    "a background command that fails": (
        "<!-- background -->\n```sh\nlbnet frob\n```",
        "does not run in the background",
    ),
    "a background command that is silent": ("<!-- background -->\n```sh\ntrue\n```", "not run in the background"),
    "a target that is not made": ("<!-- clone -->\n```sh\nmake coffee\n```", "make has no target 'coffee'"),
    "a target that is only a folder": ("<!-- clone -->\n```sh\nmake tests\n```", "make has no target 'tests'"),
    "a clone of something else": ("<!-- clone -->\n```sh\ngit clone x/y\ncd z\n```", "'cd z' is none of"),
    "more than a clone": ("<!-- clone -->\n```sh\nrm -rf /\n```", "is none of: git clone"),
    "a shell block of no class": ("```sh\ntrue\n```", "the directive '' does not belong there"),
    "a text of no class": ("```text\ntrue\n```", "the directive '' does not belong there"),
    "a script that is only shown": ("<!-- show -->\n```python\n1 / 0\n```", "the directive 'show' does not belong"),
    "commands that are only shown": ("<!-- show -->\n```sh\nfalse\n```", "the directive 'show' does not belong"),
    "an unknown directive": ("<!-- runn -->\n```sh\ntrue\n```", "the directive 'runn' does not belong there"),
    "an unknown language": (
        "<!-- run -->\n```ruby\n1\n```",
        "the info string must be one of python, sh, text, console",
    ),
    "no language": ("<!-- show -->\n```\n1\n```", "the info string must be one of"),
    "a directive too far away": ("<!-- run -->\nwords\n```sh\ntrue\n```", "the directive '' does not belong there"),
    "no end": ("<!-- run -->\n```sh\ntrue\n", "it has no end"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_block_is_found(what: str, tmp_path: Path) -> None:
    text, said = BROKEN[what]
    with pytest.raises(BrokenError, match=said) as caught:
        check(f"# Title\n\n{text}\n", tmp_path)
    line = 3 + text.split("```")[0].count("\n")
    assert str(caught.value).startswith(f"line {line}, the ")


def test_nothing_runs_while_a_block_is_not_classified(tmp_path: Path) -> None:
    with pytest.raises(BrokenError):
        check("<!-- run -->\n```sh\ntouch done\n```\n\n```sh\ntrue\n```\n", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "DEADLINE_S", 0.3)
    with pytest.raises(BrokenError, match=r"nothing within 0\.3 s"):
        check("```python\nimport time\ntime.sleep(600)\n```", tmp_path)


def test_background_commands_end_with_the_file(tmp_path: Path) -> None:
    check("<!-- background -->\n```sh\necho $$ > pid; cat pid; sleep 600\n```", tmp_path)
    pid = (tmp_path / "pid").read_text().strip()
    assert subprocess.run(["ps", "-p", pid], check=False, capture_output=True).returncode == 1


def test_a_background_command_that_ends_early_is_found(tmp_path: Path) -> None:
    def run() -> None:
        with Runner(tmp_path) as runner:
            runner.run(Block(3, "sh", "background", "echo done\n"))
            runner._background[0][1].wait(10)

    with pytest.raises(BrokenError, match="ended before the file did, with code 0"):
        run()


@pytest.mark.parametrize("code", [0, 3])
def test_a_background_command_that_leaves_may_end_well_and_not_otherwise(code: int, tmp_path: Path) -> None:
    def run() -> None:
        with Runner(tmp_path) as runner:
            runner.run(Block(3, "sh", "leaves", f"sh -c 'echo done; exit {code}'\n"))
            runner._background[0][1].wait(10)

    with pytest.raises(BrokenError, match="with code 3") if code else contextlib.nullcontext():
        run()


def test_blocks_are_found_with_their_lines_and_directives() -> None:
    text = textwrap.dedent(
        """\
        <!-- run -->

        ```sh
        ls
        ```
        ````text
        ```
        inner
        ```
        ````
          ~~~ python
          if True:
              pass
          ~~~
        """
    )
    assert blocks(text) == [
        Block(3, "sh", "run", "ls\n"),
        Block(6, "text", "", "```\ninner\n```\n"),
        Block(11, "python", "", "if True:\n    pass\n"),
    ]


def test_commands_may_be_continued_on_the_next_line() -> None:
    assert commands(Block(1, "sh", "run", "# why\nls \\\n  -l\n\nps\n")) == [
        Command("ls -l", None),
        Command("ps", None),
    ]
    assert commands(Block(1, "console", "run", "$ ls \\\n> -l\na\n\nb\n$ ps\n")) == [
        Command("ls -l", "a\n\nb\n"),
        Command("ps", None),
    ]


@pytest.mark.parametrize(
    ("pattern", "text", "same"),
    [
        ("a\nb\n", "a  \nb", True),
        ("a ... c", "a b c", True),
        ("a\n...\nc", "a\nb\nb\nc", True),
        ("a.c", "abc", False),
        ("a", "a\nb", False),
        ("", "a", False),
        ("...", "", True),
    ],
)
def test_dots_stand_for_anything(pattern: str, text: str, same: bool) -> None:
    assert matches(pattern, text) is same
