"""Tests that are coroutines and have a netlink door."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, cast

from tests.support.netns import Veth
from xdploaderd.info import Interface
from xdploaderd.net.rtnl import Rtnl

P = ParamSpec("P")


def over_rtnl(test: Callable[Concatenate[Rtnl, Interface, Veth, P], Awaitable[None]]) -> Callable[..., None]:
    """Run a test with a door of its own and what that says of the interface of `veth`; the rest are fixtures."""

    @functools.wraps(test)
    def run(veth: Veth, *args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            async with await Rtnl.open() as rtnl:
                await test(rtnl, await rtnl.interface(veth.name), veth, *args, **kwargs)

        asyncio.run(main())

    signature = inspect.signature(test)
    cast(Any, run).__signature__ = signature.replace(parameters=list(signature.parameters.values())[2:])
    return run
