"""What redis-py can do with no queue at all: the floor everything else is compared with.

Run as a process of its own: ``python -m benchmarks.floor URL COUNT``; prints one line of JSON.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import redis.asyncio

from .loop import cpu_s, obey, run, say

_BATCH = 100
_PAYLOAD = b'{"x":"' + b"y" * 200 + b'"}'

_READ = """
local got = redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', ARGV[1], 'STREAMS', KEYS[1], '>')
return got and got[1][2] or {}
"""
_ACK = """
redis.call('XACK', KEYS[1], 'g', unpack(ARGV, 2))
redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
for i = 2, #ARGV do
  redis.call('LPUSH', 'floor:r:' .. ARGV[i], ARGV[1])
  redis.call('EXPIRE', 'floor:r:' .. ARGV[i], 600)
end
"""


async def measure(url: str, count: int) -> dict[str, float]:
    """Rates per second of four loops over ``count`` messages, and the time of a bare round trip (ms)."""
    client: Any = redis.asyncio.Redis.from_url(url, protocol=2)
    result: dict[str, float] = {}
    await client.ping()
    times = []
    for _ in range(1000):
        started = time.perf_counter()
        await client.ping()
        times.append(time.perf_counter() - started)
    result["ping_p50_ms"] = sorted(times)[500] * 1000
    started = time.perf_counter()
    for _ in range(min(count, 3000)):
        await client.xadd("floor:one", {"data": _PAYLOAD})
    result["xadd_sequential_per_s"] = min(count, 3000) / (time.perf_counter() - started)
    await client.xgroup_create("floor:q", "g", id="0", mkstream=True)
    started, cpu = time.perf_counter(), cpu_s()
    for _ in range(0, count, _BATCH):
        pipeline = client.pipeline(transaction=False)
        for _ in range(_BATCH):
            pipeline.xadd("floor:q", {"data": _PAYLOAD})
        await pipeline.execute()
    result["xadd_pipelined_per_s"] = count / (time.perf_counter() - started)
    result["xadd_client_us"] = (cpu_s() - cpu) / count * 1e6
    read, ack = client.register_script(_READ), client.register_script(_ACK)
    started, cpu, done = time.perf_counter(), cpu_s(), 0
    while done < count:
        entries = await read(keys=["floor:q"], args=[_BATCH])
        await ack(keys=["floor:q"], args=[b'{"success":true}', *(entry[0] for entry in entries)])
        done += len(entries)
    result["drain_per_s"] = count / (time.perf_counter() - started)
    result["drain_client_us"] = (cpu_s() - cpu) / count * 1e6
    await client.aclose()
    return result


if __name__ == "__main__":
    obey()
    say(run(measure(sys.argv[1], int(sys.argv[2]))))
