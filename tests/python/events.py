"""Events of the Python package, for tests: `events.py ADDRESS PREPATH` sends one event on."""

import asyncio
import json
import sys

from almanet import Almanet, clients

address, prepath = sys.argv[1:]


async def main() -> None:
    async with Almanet(clients.ansqd_tcp_client(address)) as session:
        messages, stop = await session.consume(f"{prepath}.from_rust", "python")
        async for message in messages:
            await session.produce(f"{prepath}.from_python", json.loads(message.body))
            await message.commit()
            stop()
            break


asyncio.run(main())
