"""Calls of the Python package, for tests: `caller.py ADDRESS PREPATH` prints `[case, outcome]` a line."""

import asyncio
import json
import sys
import typing

import pydantic
from almanet import Almanet, clients, new_remote_service, remote_exception

address, prepath = sys.argv[1:3]
service = new_remote_service(prepath)


class denied(remote_exception):
    class payload_model(pydantic.BaseModel):
        name: str

    payload: payload_model


class order_model(pydantic.BaseModel):
    item: str
    count: int


@service.public_procedure(exceptions={denied})
async def greet(payload: typing.Any, session: Almanet) -> str: ...


@service.public_procedure
async def order(payload: order_model, session: Almanet) -> order_model: ...


@service.public_procedure
async def add(payload: dict[str, int], session: Almanet) -> int: ...


async def say(case: str, call: typing.Awaitable) -> None:
    try:
        outcome = await call
        if isinstance(outcome, pydantic.BaseModel):
            outcome = [type(outcome).__name__, outcome.model_dump()]
    except Exception as error:
        payload = getattr(error, "payload", None)
        if isinstance(payload, pydantic.BaseModel):
            payload = payload.model_dump()
        if isinstance(payload, bytes):
            payload = payload.decode()
        outcome = [type(error).__name__, getattr(error, "name", None), payload]
    print(json.dumps([case, outcome]), flush=True)


async def multicall(session: Almanet) -> list[str]:
    answers = await session.multicall(f"{prepath}.product", 7, timeout=2)
    return sorted(answer.payload.decode() for answer in answers)


async def schema(session: Almanet) -> typing.Any:
    answer = await session.call(f"_schema_.{prepath}.order.almanet", None)
    return json.loads(answer.payload)


async def sessions(session: Almanet) -> list[typing.Any]:
    answers = await session.multicall("_schema_.client", None, timeout=1)
    return [json.loads(answer.payload) for answer in answers]


async def main() -> None:
    async with Almanet(clients.ansqd_tcp_client(address)) as session:
        await say("value", greet("Aidar"))
        await say("model", order(order_model(item="tea", count=2)))
        await say("arguments", add({"left": 2, "right": 3}))
        await say("error", greet("Bob"))
        await say("unknown error", greet("closed"))
        await say("invalid payload", greet(5))
        await say("panic", greet("bomb"))
        await say("limit", session.call(f"{prepath}.limited", None))
        await say("timeout", greet("slow", timeout=1))
        await say("fraction", greet("quick", timeout=4.5))
        await say("delayed", session.delay_call(f"{prepath}.note", "delayed", 50))
        await say("multicall", multicall(session))
        await say("schema", schema(session))
        await say("sessions", sessions(session))


asyncio.run(main())
