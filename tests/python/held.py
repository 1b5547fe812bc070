"""One call of the Python package, for tests: `held.py ADDRESS URI` prints the answer."""

import asyncio
import sys

from almanet import Almanet, clients

address, uri = sys.argv[1:]


async def main() -> None:
    async with Almanet(clients.ansqd_tcp_client(address)) as session:
        reply = await session.call(uri, None, timeout=50)
        print(reply.payload.decode())


asyncio.run(main())
