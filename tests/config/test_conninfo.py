"""Connection strings are read as libpq reads them; an error shows no part of one."""

import pytest
from config import libpq
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from aegisd.config.libpq.conninfo import mask, parse, render

GOOD = [
    "postgresql://",
    "postgres:///",
    "postgresql://:pw@/",
    "postgresql://u:@h:/",
    "postgresql://@h",
    "postgresql://u:p?x=1@h:1,[::1]:2,:3/db?ssl=true&options=-c%20a%3Db",
    "postgresql://u:p#[]:!@h/a/b#c?user=x?y",
    "postgresql://u@[fe80::1%25eth0]:5/a+b?passw%6Frd=c+d&",
    "postgresql://%2Frun%2Fpostgresql/db?port=1,2",
    "postgresql://h1,/db",
    "postgresql://h/db?user=",
    "postgresql://%75:%C3%A9@h/%2f",
    " host = 'a b' port=5\\ 6 password='a\\'b\\\\'",
    "host= port=5",
    "host='a'port=3",
    "host=a'b user=''",
    "host=a host=b dbname=\\c",
]


@pytest.mark.parametrize("text", GOOD)
def test_string_is_read_as_libpq_reads_it(text: str) -> None:
    assert dict(parse(text)) == libpq.read(text)


BAD = [
    "postgresql://[::1]SECRET/",
    "postgresql://[]SECRET:1/",
    "postgresql://[::SECRET/",
    "postgresql://h?SECRET",
    "postgresql://h?&SECRET",
    "postgresql://h?user=a&&SECRET=b",
    "postgresql://h?=SECRET",
    "postgresql://h%SE/CRET",
    "postgresql://u:SECRET%00@h",
    "postgresql://u:SECRET%ff@h",
    "host='SECRET",
    "host=a SECRET",
    "=SECRET",
    "password='SECRET' =a",
]


@pytest.mark.parametrize("text", BAD)
def test_malformed_string_is_refused_without_showing_it(text: str) -> None:
    assert libpq.read(text.replace("%ff", "%00")) is None
    with pytest.raises(ValueError, match=r"percent-encoded|single quotes") as caught:
        parse(text)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("text", ["postgresql://h/?options=-c a=b@c", "postgresql://h?options=a=b"])
def test_equals_sign_in_a_uri_value_is_accepted(text: str) -> None:
    assert dict(parse(text)) == {"host": "h", "options": text.partition("options=")[2]}


PARAMETER = st.sampled_from(["host", "port", "user", "password", "dbname", "options"])
VALUE = st.text(st.sampled_from("ab1/:@?#&%'\\, =é"))


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(PARAMETER, VALUE))
def test_rendered_pairs_are_read_back_here_and_by_libpq(parameters: dict[str, str]) -> None:
    text = render(parameters)
    assume(text)
    assert dict(parse(text)) == parameters
    assert libpq.read(text) == parameters


@settings(deadline=None, max_examples=500)
@given(st.text(st.sampled_from("ab1/:@?#&%[],2f")))
@example("u:p@[::1]:1,h/d?user=x&")
def test_any_uri_is_read_as_libpq_reads_it_or_refused(rest: str) -> None:
    text = f"postgresql://{rest}"
    expected = libpq.read(text)
    try:
        assert dict(parse(text)) == expected
    except ValueError:
        assert expected is None or "\\udc" in repr(expected)  # which is no UTF-8


@settings(deadline=None, max_examples=500)
@given(st.text(st.sampled_from("a1= '\\\t\n")))
def test_any_pairs_are_read_as_libpq_reads_them_or_refused(rest: str) -> None:
    text = f"host={rest}"
    expected = libpq.read(text)
    try:
        found = dict(parse(text))
    except ValueError:
        assert expected is None or text.endswith("\\")
    else:
        assert expected is None or found == expected


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("host=h password=SECRET dbname=d", "host=h password=*** dbname=d"),
        ("password = 'SEC\\' RET' host=h", "password=*** host=h"),
        ("host=h sslpassword=SECRET", "host=h sslpassword=***"),
        ("password=SECRET password=", "password=***"),
        ("postgresql://us?er:SECRET@h/db", "postgresql://us?er:***@h/db"),
        ("postgresql://h/db?pass%77ord=SECRET", "postgresql://h/db?pass%77ord=***"),
        ("host='SECRET", "***"),
    ],
)
def test_password_is_masked_in_uri_and_pairs(dsn: str, shown: str) -> None:
    assert mask(dsn) == shown
