"""Which command lines are a Python script and its arguments, and nothing else."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.compute.script_call import python_call


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("python a.py", ("a.py", [])),
        ("  python   a.py\t--x  1 \n", ("a.py", ["--x", "1"])),
        ("python 'a folder/a.py' 'a path/b' \"c d\"", ("a folder/a.py", ["a path/b", "c d"])),
        ("python a.py --a \\\n  --b\\\n=c", ("a.py", ["--a", "--b=c"])),
        ("python a.py '' \"\" x''y", ("a.py", ["", "", "xy"])),
        ("python a.py \"it's\" 'a \"b\"' it\\'s a\\ b", ("a.py", ["it's", 'a "b"', "it's", "a b"])),
        ("python a.py '$HOME; `x` | *'", ("a.py", ["$HOME; `x` | *"])),
        ("python a.py 'a\\\nb' '\\'", ("a.py", ["a\\\nb", "\\"])),
        ("python a.py a=1 --b=c,d:e@f%g^h+i", ("a.py", ["a=1", "--b=c,d:e@f%g^h+i"])),
        ("python a.py \\\n", ("a.py", [])),
    ],
)
def test_a_script_and_its_arguments(line: str, call: tuple[str, list[str]]) -> None:
    assert python_call(line) == call


@pytest.mark.parametrize(
    "line",
    [
        "",
        "python",
        "python -m a.py",
        "python -u a.py",
        "python3 a.py",
        "bash a.py",
        "A=1 python a.py",
        "python a.py; ls",
        "python a.py && ls",
        "python a.py | cat",
        "python a.py > out",
        "python a.py &",
        "python a.py $HOME",
        'python a.py "$HOME"',
        'python a.py "`ls`"',
        "python a.py $(ls)",
        "python a.py *.txt",
        "python a.py a[12]",
        "python a.py {a,b}",
        "python a.py ~/x",
        "python a.py # why",
        "python a.py \"it's\" ; rm 'x'",
        "python a.py a\nls",
        "python a.py 'open",
        'python a.py "a\\$b"',
        "python a.py a\rb",
    ],
)
def test_what_a_shell_must_read(line: str) -> None:
    assert python_call(line) is None


_PIECES = [
    "a",
    "--b",
    "=",
    " ",
    "  ",
    "\t",
    "/",
    "é",
    "\u00a0",
    "'a b'",
    "'$x;\n'",
    '"c d"',
    '"it\'s"',
]
_TRAPS = ["'", '"', "\\", "\\\n", "\\\\", "\\'", '\\"', "\n", "\r", "!", *"$;|&[]{}*?~#`()<>"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(_PIECES * 3 + _TRAPS), max_size=12).map("".join))
def test_what_is_read_is_what_bash_reads(rest: str) -> None:
    line = f"python a.py {rest}"
    call = python_call(line)
    if call is not None:
        assert ["python", call[0], *call[1]] == _bash(line)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_quoted_arguments_are_always_read(arguments: list[str]) -> None:
    line = " ".join(["python a.py", *("'" + a.replace("'", "'\\''") + "'" for a in arguments)])
    assert python_call(line) == ("a.py", arguments)


def _bash(line: str) -> list[str]:
    """The words of a command whose program is `python`, as bash reads them."""
    show = f"python() {{ printf '%s\\0' python \"$@\"; }}\n{line}"
    done = subprocess.run(["bash", "-c", show], capture_output=True, check=True, timeout=20)
    return done.stdout.decode().split("\0")[:-1]
