"""Keys that are right alone may be wrong together."""

import pytest

DIGEST = "0" * 64
TOKEN = f'tokens = [{{ name = "a", sha256 = "{DIGEST}" }}]'


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.9.9.9:0"])
def test_listening_on_loopback_needs_no_tokens(read, listen: str) -> None:
    assert read(f"[http]\nlisten = '{listen}'").http.listen == listen


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.com:1"])
def test_listening_beyond_loopback_needs_tokens(read, problems, listen: str) -> None:
    (found,) = problems(f"[http]\nlisten = '{listen}'")
    assert found.startswith("http.listen: without http.tokens only loopback may be listened on")
    assert read(f"[http]\nlisten = '{listen}'\n{TOKEN}").http.tokens[0].role == "viewer"
