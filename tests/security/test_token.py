"""The line that lets a machine in."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.errors import UsageError
from lbnet.security import token
from lbnet.security.token import Token

ANY = st.binary(min_size=token.SECRET_BYTES, max_size=token.SECRET_BYTES)


@settings(derandomize=True)
@given(ANY, ANY, st.integers(0, 80), st.sampled_from([" ", "\n", "\t", "\r\n"]), st.booleans())
def test_what_is_printed_is_read_again_however_it_was_pasted(
    digest: bytes, secret: bytes, at: int, space: str, small: bool
) -> None:
    text = str(Token(digest, secret))
    text = text[:at] + space + text[at:]
    assert token.parse(text.lower() if small else text) == Token(digest, secret)


def test_the_secret_is_not_in_what_is_logged() -> None:
    made = token.draw(b"certificate")
    assert str(made).split("-")[2] not in repr(made)
    assert made.secret.hex() not in repr(made)


def test_the_digest_is_that_of_the_certificate_and_secrets_differ() -> None:
    one, other = token.draw(b"certificate"), token.draw(b"certificate")
    assert one.digest == other.digest == token.digest_of(b"certificate") != token.digest_of(b"another")
    assert one.secret != other.secret


GOOD = str(Token(token.digest_of(b"certificate"), bytes(range(20))))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("hello", "begins with LB1-"),
        (GOOD.replace("LB1", "LB2"), "another version"),
        (GOOD[:-1], "has 68 characters, and one has 69"),
        (GOOD + "A", "has 70 characters, and one has 69"),
        (GOOD[:-1] + "1", "characters that none has"),
        (GOOD.replace("-", "_", 1), "begins with LB1-"),
        ("LB1-" + "A" * 65, "characters that none has"),
    ],
)
def test_what_is_none_is_refused_without_repeating_it(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        token.parse(text)
    assert len(text.strip()) < 10 or text.strip() not in str(caught.value)


@settings(derandomize=True, max_examples=300)
@given(
    st.text(max_size=90)
    | st.builds(
        lambda text, at, char: text[:at] + char + text[at + 1 :], st.just(GOOD), st.integers(0, 68), st.characters()
    )
)
def test_whatever_is_pasted_it_is_a_token_or_a_sentence(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert token.parse(str(token.parse(text))) == token.parse(text)


@settings(derandomize=True)
@given(ANY, ANY)
def test_a_secret_fits_its_own_hash_only(one: bytes, other: bytes) -> None:
    assert token.fits(one, token.hash_of(one))
    assert token.fits(one, token.hash_of(other)) == (one == other)
    assert one not in token.hash_of(one)
