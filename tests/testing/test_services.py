"""A scripted service does what its script says, and a fault in the script is a fault of the test."""

import asyncio
from collections.abc import Callable

import pytest

from terratunnel.testing.services import Caller, Script, ScriptedService
from tests.certificates import client_context, server_context


async def called(service: ScriptedService) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(service.host, service.port)


async def test_a_script_reads_heads_bodies_and_chunks_until_the_caller_goes() -> None:
    seen: list[object] = []

    async def script(caller: Caller) -> None:
        async for head in caller.heads():
            seen.append(head)
            seen.append(await caller.read(2) if b"two" in head else await caller.chunked())
            caller.send(b"%d" % caller.number)

    async with ScriptedService(script) as service:
        reader, writer = await called(service)
        writer.write(b"two\r\n\r\nab" + b"chunks\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n")
        assert await reader.readexactly(2) == b"11"
        writer.close()
        while len(service._plays) < 1 or not service._plays[0].done():
            await asyncio.wait(service._plays)
    assert seen == [b"two\r\n\r\n", b"ab", b"chunks\r\n\r\n", (b"abc", b"X: y\r\n")]
    assert service.connections == 1


async def test_a_caller_that_goes_in_the_middle_of_a_head_is_a_fault() -> None:
    async def script(caller: Caller) -> None:
        async for _ in caller.heads():
            pass

    with pytest.raises(AssertionError):
        await half_a_head(script)


async def half_a_head(script: Script) -> None:
    async with ScriptedService(script) as service:
        reader, writer = await called(service)
        writer.write(b"half a head")
        writer.write_eof()
        await reader.read()
        writer.close()


async def test_a_fault_in_the_script_fails_the_test_and_closes_the_connection() -> None:
    async def script(caller: Caller) -> None:
        raise RuntimeError("a wrong script")

    with pytest.raises(RuntimeError, match="a wrong script"):
        await read_all(script)


async def read_all(script: Script) -> None:
    async with ScriptedService(script) as service:
        reader, writer = await called(service)
        assert await reader.read() == b""
        writer.close()


async def test_a_fault_of_the_test_itself_is_not_hidden_by_the_scripts() -> None:
    async def script(caller: Caller) -> None:
        raise RuntimeError("a wrong script")

    async def test() -> None:
        async with ScriptedService(script) as service:
            reader, _ = await called(service)
            await reader.read()
            raise ValueError("the test's own")

    with pytest.raises(ValueError, match="the test's own"):
        await test()


@pytest.mark.parametrize(
    ("ending", "broken"), [(Caller.close, False), (Caller.half_close, False), (Caller.reset, True)]
)
async def test_a_script_ends_the_connection_in_the_way_it_says(ending: Callable[[Caller], None], broken: bool) -> None:
    async def script(caller: Caller) -> None:
        ending(caller)
        await caller.gone()

    async with ScriptedService(script) as service:
        reader, writer = await called(service)
        try:
            assert await reader.read() == b""
            assert not broken
        except ConnectionResetError:
            assert broken
        writer.close()


async def test_a_caller_that_breaks_off_is_gone_as_well() -> None:
    went = asyncio.Event()

    async def script(caller: Caller) -> None:
        await caller.gone()
        went.set()

    async with ScriptedService(script) as service:
        _, writer = await called(service)
        writer.write(b"whatever")
        caller = Caller(1, asyncio.StreamReader(), writer)
        caller.reset()
        caller.reset()
        await went.wait()


async def test_everything_up_to_the_end_is_read() -> None:
    seen: list[bytes] = []

    async def script(caller: Caller) -> None:
        seen.append(await caller.read_to_end())
        caller.send(b"x" * 1_000_000)
        await caller.sent()

    async with ScriptedService(script) as service:
        reader, writer = await called(service)
        writer.write(b"all of it")
        writer.write_eof()
        assert len(await reader.read()) == 1_000_000
        writer.close()
    assert seen == [b"all of it"]


async def test_it_listens_on_a_unix_socket_and_with_tls(tmp_path: object) -> None:
    async def script(caller: Caller) -> None:
        caller.send(await caller.read(2))
        await caller.gone()

    path = f"{tmp_path}/s"
    async with ScriptedService(script, path) as service:
        assert service.url == f"unix:{path}"
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hi")
        assert await reader.read(2) == b"hi"
        writer.close()
    async with ScriptedService(script, context=server_context()) as service:
        assert service.url == f"https://127.0.0.1:{service.port}"
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port, ssl=client_context())
        writer.write(b"hi")
        assert await reader.read(2) == b"hi"
        writer.close()
