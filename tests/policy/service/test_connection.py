"""Connections as clients use and abuse them; the handler answers what it is asked."""

import asyncio
import gc
import json

import pytest
import uvloop

from policy.service.answers import JSON, Answer
from policy.service.connection import MOST_HEAD, Connection, House

HEAD = b"POST /x HTTP/1.1\r\nhost: h\r\n"


class Echo:
    """Answers with what it was asked; later, where the target says so."""

    def answer(self, method, url, headers, body, client):
        told = {"method": method.decode(), "url": url.decode(), "length": len(body)}
        answer = Answer(200, JSON, json.dumps(told).encode(), b"id")
        return answer if not url.startswith(b"/later") else self.later(answer)

    async def later(self, answer):
        await asyncio.sleep(0.05)
        return answer

    def refuse(self, problem):
        return Answer(problem.status, JSON, problem.body("id"), b"id", problem.headers)


def talk(conversation, **options):
    """Run a conversation with a server: it gets the house and a function that connects."""
    given = {"most_bytes": 1000, "request_seconds": 0.3, "most_connections": 50} | options

    async def run():
        house = House(Echo(), **given)
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(house), "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        try:
            return await conversation(house, lambda: asyncio.open_connection("127.0.0.1", port))
        finally:
            server.close()

    return uvloop.run(run())


async def answered(reader):
    """Return status, headers and decoded body of the next answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ") for line in head[1:] if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, json.loads(body)


async def ended(reader):
    """Whether the other side has closed; a reset is an end too."""
    try:
        return await asyncio.wait_for(reader.read(), 3) == b""
    except ConnectionResetError:
        return True


def once(sent, **options):
    """Send bytes on one connection; return the first answer, and whether it ends there."""

    async def conversation(house, connect):
        reader, writer = await connect()
        writer.write(sent)
        status, headers, body = await answered(reader)
        ends = headers.get("connection") == "close" and await ended(reader)
        writer.close()
        return status, body, ends

    return talk(conversation, **options)


def test_requests_share_a_connection_and_keep_their_order():
    """Whole, in pieces of a byte, many at once; those behind a late answer wait for it."""

    async def conversation(house, connect):
        reader, writer = await connect()
        request = HEAD + b"content-length: 3\r\n\r\nabc"
        for k in range(len(request)):
            writer.write(request[k : k + 1])
            await writer.drain()
            await asyncio.sleep(0.0005)
        assert (await answered(reader))[2] == {"method": "POST", "url": "/x", "length": 3}
        urls = [f"/{k}" if k % 3 else f"/later/{k}" for k in range(12)]
        writer.write(b"".join(f"GET {url} HTTP/1.1\r\n\r\n".encode() for url in urls))
        assert [(await answered(reader))[2]["url"] for _ in urls] == urls
        writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")
        assert (await answered(reader))[2]["length"] == 5
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.01)
        assert not house.connections

    talk(conversation)


@pytest.mark.parametrize(
    ("sent", "status", "words", "ends"),
    [
        (b"GET /a HTTP/1.1\r\nconnection: close\r\n\r\n", 200, None, True),
        (b"GET /a HTTP/1.0\r\n\r\n", 200, None, True),
        (b"GET /a HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", 200, None, True),
        (b"nothing of the kind\r\n\r\n", 400, "no HTTP/1.1", True),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, "no HTTP/1.1", True),
        (HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", 400, "no HTTP/1.1", True),
        (HEAD + b"content-length: -1\r\n\r\n", 400, "no HTTP/1.1", True),
        (HEAD + b"content-length: 1001\r\n\r\n", 413, "1001 bytes; at most 1000", True),
        (HEAD + b"content-length: 1001\r\n\r\n" + b"x" * 1001, 413, "at most 1000", True),
        (
            HEAD + b"transfer-encoding: chunked\r\n\r\n" + (b"200\r\n" + b"x" * 512 + b"\r\n") * 2,
            413,
            "more than 1000 bytes",
            True,
        ),
        (HEAD + b"more: " + b"x" * (MOST_HEAD + 1), 431, "the head has more than", True),
        (HEAD + b"a: b\r\n" * MOST_HEAD, 431, "the head has more than", True),
        (HEAD + b"content-length: 5\r\n\r\nab", 408, "did not come within 0.3 s", True),
        (b"GET / HT", 408, "did not come within 0.3 s", True),
    ],
)
def test_what_is_sent_gets_its_answer(sent, status, words, ends):
    found, body, closed = once(sent)
    assert (found, closed) == (status, ends)
    assert words is None or words in body["detail"]


def test_a_body_that_drips_is_given_up_as_a_whole():
    """A byte each 0.05 s: no pause is long, the whole is."""

    async def conversation(house, connect):
        reader, writer = await connect()
        writer.write(HEAD + b"content-length: 100\r\n\r\n")

        async def drip():
            for _ in range(100):
                writer.write(b"x")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        begin = asyncio.get_running_loop().time()
        status, _, _ = await answered(reader)
        took = asyncio.get_running_loop().time() - begin
        dripping.cancel()
        writer.close()
        assert status == 408
        assert 0.2 < took < 2

    talk(conversation)


def test_a_refused_client_that_sends_on_reads_why():
    """It is not cut off while it sends ten times what it may."""

    async def conversation(house, connect):
        reader, writer = await connect()
        writer.write(HEAD + b"content-length: 9000000\r\n\r\n")
        for _ in range(90):
            writer.write(b"x" * 100_000)
            await asyncio.sleep(0)
        assert (await answered(reader))[0] == 413
        writer.close()

    talk(conversation)


def test_expect_and_head():
    async def conversation(house, connect):
        reader, writer = await connect()
        writer.write(HEAD + b"content-length: 2\r\nexpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ab")
        assert (await answered(reader))[2]["length"] == 2
        writer.write(b"HEAD /x HTTP/1.1\r\n\r\nGET /y HTTP/1.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-length: " in head
        assert (await answered(reader))[2]["url"] == "/y"
        writer.close()

    talk(conversation)


def test_more_than_the_house_holds_is_turned_away():
    async def conversation(house, connect):
        held = [await connect() for _ in range(3)]
        for _, writer in held:
            writer.write(b"GET /a HTTP/1.1\r\n\r\n")
        statuses = [await answered(reader) for reader, _ in held]
        assert [status for status, _, _ in statuses] == [200, 200, 429]
        assert statuses[2][1]["retry-after"] == "1"
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.05)
        reader, writer = await connect()
        writer.write(b"GET /a HTTP/1.1\r\n\r\n")
        assert (await answered(reader))[0] == 200
        writer.close()

    talk(conversation, most_connections=2)


def test_what_a_client_does_not_read_stops_what_is_read_of_it():
    """Answers of 64 requests a write pile up to a bound, not to what the client asks for."""

    async def conversation(house, connect):
        reader, writer = await connect()
        ask = b"GET /" + b"u" * 500 + b" HTTP/1.1\r\n\r\n"
        sent, total = 0, 40_000
        writer.transport.set_write_buffer_limits(high=1 << 16)

        async def send():
            nonlocal sent
            while sent < total:
                writer.write(ask * 64)
                sent += 64
                await writer.drain()

        sending = asyncio.create_task(send())
        await asyncio.sleep(1.0)
        (connection,) = house.connections
        assert sent < total
        assert connection._transport.get_write_buffer_size() < 4 << 20
        for _ in range(total):
            assert (await answered(reader))[0] == 200
        await sending
        writer.close()

    talk(conversation)


def test_a_drain_answers_what_has_come():
    """Begun requests and late answers are finished; idle callers are let go."""

    async def conversation(house, connect):
        idle, begun, late = [await connect() for _ in range(3)]
        begun[1].write(HEAD + b"content-length: 2\r\n\r\na")
        late[1].write(b"GET /later HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0.02)
        house.draining = True
        for connection in list(house.connections):
            connection.drain()
        assert await ended(idle[0])
        begun[1].write(b"b")
        for reader, _ in (begun, late):
            status, headers, _ = await answered(reader)
            assert (status, headers["connection"]) == (200, "close")
            assert await ended(reader)
        for _, writer in (idle, begun, late):
            writer.close()
        await asyncio.sleep(0.02)
        assert not house.connections

    talk(conversation)


def test_an_idle_caller_is_let_go(monkeypatch):
    monkeypatch.setattr("policy.service.connection.IDLE_SECONDS", 0.1)

    async def conversation(house, connect):
        reader, writer = await connect()
        writer.write(b"GET /a HTTP/1.1\r\n\r\n")
        await answered(reader)
        assert await ended(reader)
        writer.close()

    talk(conversation)


def test_nothing_is_left_of_callers_that_have_gone():
    """Not even until they would have been idle for too long: callers may come by the thousand."""

    async def conversation(house, connect):
        for _ in range(100):
            reader, writer = await connect()
            writer.write(b"GET /a HTTP/1.1\r\n\r\n")
            await answered(reader)
            writer.close()
            await writer.wait_closed()
        await asyncio.sleep(0.05)
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, Connection)]

    talk(conversation)
