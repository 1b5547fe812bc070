"""A service of the Python package, for tests: `service.py ADDRESS PREPATH [holds]`, until it is killed."""

import asyncio
import sys
import typing

import pydantic
from almanet import Almanet, clients, new_remote_service, remote_exception, serve_single

address, prepath = sys.argv[1:3]
holds = "holds" in sys.argv
service = new_remote_service(prepath, include_to_api=True, tags={"test"})


class denied(remote_exception):
    class payload_model(pydantic.BaseModel):
        name: str

    payload: payload_model


class plain(remote_exception):
    payload: str | None


class order_model(pydantic.BaseModel):
    item: str
    count: int


@service.procedure(exceptions={denied, plain})
async def greet(payload: str, session: Almanet) -> typing.Any:
    match payload:
        case "Bob":
            raise denied(denied.payload_model(name=payload))
        case "plain":
            raise plain("sorry")
        case "none":
            raise plain()
        case "bomb":
            raise ValueError("the password is 1234")
        case "raw":
            return b'raw "bytes"'
        case "nothing":
            return None
        case "slow":
            await asyncio.sleep(3600)
    return f"Hello, {payload}!"


@service.procedure(include_to_api=True)
async def order(payload: order_model, session: Almanet) -> order_model:
    """Orders twice as much."""
    return order_model(item=payload.item, count=payload.count * 2)


@service.procedure
async def note(payload: str, session: Almanet) -> None:
    """Says that it runs, for ever if it is told to."""
    print(payload, flush=True)
    if holds:
        await asyncio.sleep(3600)


@service.procedure
async def language(payload: None, session: Almanet) -> str:
    return "python"


# nsqd gives what a dead service held to another after this time.
message_timeout = 2 if holds else 60
serve_single(clients.ansqd_tcp_client(address, message_timeout_seconds=message_timeout), service)
