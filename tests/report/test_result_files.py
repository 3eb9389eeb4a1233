"""Result files are read whatever an engine made of them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftspec.engines.result_csv import read_result

PLAIN = b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,2.5,0.1,,\n2,2.0,0.2,1.8,0.5\n"
READ = {
    1.0: {"train_loss": 2.5, "train_accuracy": 0.1},
    2.0: {"train_loss": 2.0, "train_accuracy": 0.2, "valid_loss": 1.8, "valid_mean_token_accuracy": 0.5},
}


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        base64.b64encode(PLAIN),
        base64.encodebytes(PLAIN),
        b"\xef\xbb\xbf" + PLAIN,
        PLAIN.replace(b"\n", b"\r\n"),
        PLAIN.replace(b",", b";"),
        PLAIN.replace(b",", b"\t"),
        PLAIN.replace(b"step", b' "Step" '),
        PLAIN + b"not,a,line\n3\n,,,\nnan,1,2,3,4\n4,nan,inf,,\n",
        b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n2,2.0,0.2,1.8,0.5\n1,2.5,0.1,,\n",
    ],
    ids=["plain", "base64", "base64 lines", "bom", "crlf", "semicolons", "tabs", "quoted header", "broken lines", "unsorted"],
)
def test_the_same_figures_in_many_dresses(content):
    """Base64, marks, line ends, delimiters, quotes, broken lines and order make no difference."""
    found = read_result(content)
    assert found == READ
    assert list(found) == [1.0, 2.0]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"loss\n1\n", b"\x00\xff\xfe", b"{}", b"step\n1\n2\n", base64.b64encode(b"no csv")])
def test_what_has_no_steps_holds_nothing(content):
    """Nothing to read is no error."""
    assert read_result(content) == {}


def test_columns_of_any_name_are_kept():
    """Other engines measure other things."""
    assert read_result(b"reward,step\n0.5,10\n") == {10.0: {"reward": 0.5}}


@settings(max_examples=100)
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"step,loss\n" + rest))
def test_no_bytes_raise(content):
    """Whatever comes, figures or nothing come out."""
    assert all(isinstance(value, float) for cells in read_result(content).values() for value in cells.values())
