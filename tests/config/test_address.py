"""Addresses: what is split is joined to the same text."""

import pytest

from aegisd.config.address import join_address, split_address


@pytest.mark.parametrize("address", ["127.0.0.1:80", "localhost:0", "[::1]:7460", "[fe80::1]:1"])
def test_split_address_is_joined_to_the_same_text(address: str) -> None:
    assert join_address(*split_address(address)) == address
