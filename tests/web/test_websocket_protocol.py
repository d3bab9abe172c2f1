"""The WebSocket protocol by raw frames: framing, control frames, texts, limits, the close."""

import json
import zlib

import pytest
import trio
from web.frames import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    frame,
    raw_client,
)
from web.streams import wait_until

from aegisd.web.websocket.protocol import BURST_FRAMES, MAX_MESSAGE_BYTES

SLOW = "[dashboard.websocket]\nupdate_interval_ms = 1000000"
ASK = b'{"type": "ping"}'
PONG_MESSAGE = {"type": "pong"}


async def test_handshake_is_answered_by_the_rfc(serving):
    async with serving(SLOW) as web, raw_client(web) as client:
        status, *headers = client.answer.split("\r\n")
        found = dict(header.lower().split(": ", 1) for header in headers)
    assert status.startswith("HTTP/1.1 101 ")
    assert found["upgrade"] == "websocket"
    assert found["connection"] == "upgrade"
    assert found["sec-websocket-accept"] == ACCEPT.lower()
    assert "sec-websocket-protocol" not in found
    assert "sec-websocket-extensions" not in found


@pytest.mark.parametrize(
    ("offered", "answered"),
    [("aegisd, bearer.abc", True), ("bearer.abc,aegisd", True), ("bearer.abc", False)],
)
async def test_subprotocol_is_answered_if_it_is_offered(serving, offered, answered):
    header = f"Sec-WebSocket-Protocol: {offered}"
    async with serving(SLOW) as web, raw_client(web, header) as client:
        assert ("Sec-WebSocket-Protocol: aegisd" in client.answer) is answered
        assert "bearer" not in client.answer


@pytest.mark.parametrize(
    "sent",
    [
        [frame(TEXT, ASK)],
        [frame(TEXT, ASK[:3], bits=0), frame(CONTINUATION, ASK[3:])],
        [frame(TEXT, bits=0), frame(CONTINUATION, bits=0), frame(CONTINUATION, ASK)],
        [frame(TEXT, ASK[:3], bits=0), frame(PONG, b"x"), frame(CONTINUATION, ASK[3:])],
        [frame(TEXT, ASK, mask=b"\0\0\0\0")],
        [frame(PONG, b"not asked for"), frame(TEXT, ASK)],
        [frame(TEXT, b" " * 200 + ASK)],
        [frame(TEXT, b" " * (MAX_MESSAGE_BYTES - len(ASK)) + ASK)],
        [
            frame(TEXT, bits=0),
            *(frame(CONTINUATION, ASK[i : i + 1], bits=0) for i in range(16)),
            frame(CONTINUATION),
        ],
    ],
)
@pytest.mark.parametrize("split", [False, True])
async def test_message_is_read_however_it_is_cut(serving, sent, split):
    async with serving(SLOW) as web, raw_client(web) as client:
        await client.message()
        for part in sent:
            for at in range(len(part)) if split and len(part) < 100 else [None]:
                await client.send(part if at is None else part[at : at + 1])
        assert await client.message() == PONG_MESSAGE


async def test_frame_behind_the_handshake_is_read(serving):
    async with serving(SLOW) as web, raw_client(web, behind=frame(TEXT, ASK)) as client:
        assert (await client.message())["type"] == "metrics"
        assert await client.message() == PONG_MESSAGE


@pytest.mark.parametrize("payload", [b"", b"x", b"\xff" * 125])
async def test_ping_gets_a_pong_with_its_payload(serving, payload):
    async with serving(SLOW) as web, raw_client(web) as client:
        await client.message()
        await client.send(frame(PING, payload))
        assert await client.receive() == (FIN | PONG, payload)


BREACHES = {
    "no mask": frame(TEXT, ASK, mask=None),
    "reserved bit 1": frame(TEXT, ASK, bits=FIN | RSV1),
    "reserved bit 2": frame(TEXT, ASK, bits=FIN | RSV2),
    "reserved bit 3": frame(PING, bits=FIN | RSV3),
    "reserved data opcode": frame(3),
    "reserved control opcode": frame(11),
    "fragmented ping": frame(PING, bits=0),
    "ping of 126 bytes": frame(PING, b"x" * 126),
    "continuation of nothing": frame(CONTINUATION, ASK),
    "text within a text": frame(TEXT, ASK, bits=0) + frame(TEXT, ASK),
    "close of one byte": frame(CLOSE, b"\x03"),
    "close with 1005": frame(CLOSE, (1005).to_bytes(2, "big")),
    "close with 999": frame(CLOSE, (999).to_bytes(2, "big")),
    "length of 2 bytes for 5": b"\x81\xfe\x00\x05\0\0\0\0aaaaa",
    "length with its highest bit": b"\x81\xff\xff" + bytes(7) + b"\0\0\0\0",
}


@pytest.mark.parametrize("sent", BREACHES.values(), ids=BREACHES)
async def test_breach_of_the_protocol_is_closed_with_1002_and_counted(serving, sent):
    async with serving(SLOW) as web, raw_client(web) as client:
        await client.message()
        await client.send(sent)
        assert await client.closed() == 1002
        await wait_until(lambda: web.daemon.hub.count == 0)
        assert web.daemon.hub.refused["protocol_error"] == 1


@pytest.mark.parametrize(
    "sent",
    [
        frame(TEXT, b"\xff\xfe"),
        frame(TEXT, b"\xed\xa0\x80"),  # a surrogate
        frame(TEXT, b"\xc3"),  # a character that does not end
        frame(TEXT, b"\xf4\x90\x80\x80"),  # beyond Unicode
        frame(TEXT, b"\xce", bits=0) + frame(CONTINUATION, b"x"),
        frame(CLOSE, b"\x03\xe8\xff"),
    ],
)
async def test_text_that_is_no_utf_8_is_closed_with_1007(serving, sent):
    async with serving(SLOW) as web, raw_client(web) as client:
        await client.message()
        await client.send(sent)
        assert await client.closed() == 1007
        assert web.daemon.hub.refused["bad_utf8"] == 1


async def test_character_may_be_cut_between_frames(serving):
    async with serving(SLOW) as web, raw_client(web) as client:
        await client.message()
        await client.send(frame(TEXT, b'{"type": "\xc3', bits=0), frame(CONTINUATION, b'\xa9"}'))
        assert (await client.message())["error"]["code"] == "unknown_type"


@pytest.mark.parametrize(
    "sent",
    [
        [frame(TEXT, b"x" * (MAX_MESSAGE_BYTES + 1))],
        [frame(TEXT, b"x" * 10_000_000)],
        [frame(TEXT, b"x" * 3000, bits=0), frame(CONTINUATION, b"x" * 3000, bits=0)],
        [frame(BINARY, b"x" * 5000)],
    ],
)
async def test_too_large_message_is_closed_with_1009(serving, sent):
    async with serving(SLOW) as web, raw_client(web) as client, trio.open_nursery() as nursery:
        await client.message()
        nursery.start_soon(client.send, *sent)
        assert await client.closed() == 1009
        assert web.daemon.hub.refused["too_large"] == 1


async def test_fragments_without_end_are_closed_with_1008(serving):
    async with serving(SLOW) as web, raw_client(web) as client:
        await client.message()
        await client.send(frame(TEXT, bits=0), *[frame(CONTINUATION, bits=0)] * 500)
        assert await client.closed() == 1008
        assert web.daemon.hub.refused["too_many_messages"] == 1


async def test_messages_beyond_the_rate_get_errors_then_1008(serving):
    async with serving(SLOW) as web, raw_client(web) as client:
        await client.message()
        await client.send(*[frame(TEXT, ASK)] * BURST_FRAMES)
        for _ in range(BURST_FRAMES):
            assert await client.message() == PONG_MESSAGE
        await client.send(*[frame(TEXT, ASK)] * 10)
        while (answer := await client.message()) == PONG_MESSAGE:
            pass  # what the rate allows meanwhile
        assert answer["error"]["code"] == "too_many_messages"
        await client.send(*[frame(TEXT, ASK)] * 500)
        assert await client.closed() == 1008


async def test_binary_message_gets_an_error_and_the_connection_stays(serving):
    async with serving(SLOW) as web, raw_client(web) as client:
        await client.message()
        await client.send(frame(BINARY, ASK))
        assert (await client.message())["error"]["code"] == "bad_message"
        await client.send(frame(TEXT, ASK))
        assert await client.message() == PONG_MESSAGE
        assert web.daemon.hub.refused["bad_message"] == 1


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"", 1005), (b"\x03\xe8", 1000), (b"\x03\xe9bye", 1001), (b"\x0f\xa0", 4000)],
)
async def test_close_frame_is_answered_with_its_code(serving, payload, code):
    async with serving(SLOW) as web, raw_client(web) as client:
        await client.message()
        await client.send(frame(CLOSE, payload), frame(TEXT, ASK))
        assert await client.receive() == (FIN | CLOSE, payload[:2] + payload[2:])
        assert await client.receive() == (-1, b"")
        await client.stream.aclose()
        await wait_until(lambda: web.daemon.hub.count == 0)
        assert not web.daemon.hub.refused
    assert code


async def test_daemon_s_stop_is_told_with_1001(serving):
    async with serving(SLOW) as web, raw_client(web) as one, raw_client(web) as other:
        await one.message()
        await other.message()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(web.daemon.hub.stop)
            assert await one.closed() == 1001
            assert await other.closed() == 1001
            await one.stream.aclose()
            await other.stream.aclose()
        assert web.daemon.hub.count == 0


async def test_compressed_frames_are_the_same_messages(serving):
    async with serving(SLOW) as web:
        offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
        async with raw_client(web, offer) as client:
            assert "server_no_context_takeover" in client.answer
            for _ in range(2):
                head, payload = await client.receive()
                assert head == FIN | RSV1 | TEXT
                text = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
                assert json.loads(text)["type"] in ("metrics", "pong")
                compressor = zlib.compressobj(wbits=-15)
                ask = compressor.compress(ASK) + compressor.flush(zlib.Z_SYNC_FLUSH)
                await client.send(frame(TEXT, ask[:-4], bits=FIN | RSV1))


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate; server_max_window_bits=9",
        "permessage-deflate; client_max_window_bits=x",
        "permessage-deflate; unknown",
        "permessage-foo",
        ",;=,",
    ],
)
async def test_extension_that_can_not_be_met_is_declined(serving, offer):
    header = f"Sec-WebSocket-Extensions: {offer}"
    async with serving(SLOW) as web, raw_client(web, header) as client:
        assert "permessage" not in client.answer.lower()
        assert (await client.message())["type"] == "metrics"


async def test_compressed_bomb_is_closed_with_1009(serving):
    compressor = zlib.compressobj(wbits=-15)
    bomb = compressor.compress(b" " * 4_000_000) + compressor.flush(zlib.Z_SYNC_FLUSH)
    header = "Sec-WebSocket-Extensions: permessage-deflate"
    async with serving(SLOW) as web, raw_client(web, header) as client:
        await client.receive()
        await client.send(frame(TEXT, bomb[:-4], bits=FIN | RSV1))
        assert await client.closed() == 1009
