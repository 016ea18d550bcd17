"""A program that somebody else attached becomes ours as it is: it runs on with its maps, is pinned and remembered."""

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.execute.executor import Executor
from xdploaderd.daemon.loop.seams import Snapshots
from xdploaderd.daemon.plan.world import Place, Wanted, wanted_place
from xdploaderd.errors import HookBusyError, NoSuchInterfaceError, UsageError
from xdploaderd.kernel.syscall import Fd
from xdploaderd.printable import quoted


class Adopter:
    """Looks whether the program is where its entry says, and takes it over."""

    def __init__(self, snapshots: Snapshots, executor: Executor) -> None:
        self._snapshots = snapshots
        self._executor = executor

    async def adopt(self, config: AttachmentConfig, sha1: str, prog: Fd) -> None:
        """Make `prog` the entry's program in force, whose object has that digest; `prog` stays the caller's.

        Raises NoSuchInterfaceError, HookBusyError where another program is in the entry's place, ObjectError where it
        is not the program of the entry's object. Nothing is changed on the hook, in any case.
        """
        place = await self._find(config, self._executor.prog_id(prog))
        await self._executor.adopt(config, place, sha1, prog)

    async def disown(self, name: str) -> None:
        """Take back adopt(): the program runs on as somebody else's."""
        await self._executor.disown(name)

    async def _find(self, config: AttachmentConfig, prog_id: int) -> Place:
        if not config.interface:
            raise UsageError("a program is taken over from one interface: give `interface`, not `match`")
        observed = await self._snapshots.snapshot((Wanted(config=config),))
        interface = observed.interface(config.interface)
        if interface is None:
            raise NoSuchInterfaceError(f"no interface {quoted(config.interface)}")
        wanted = wanted_place(config, interface)
        met = observed.in_the_way(wanted)
        if met is None or met.prog_id != prog_id:
            there = "nothing" if met is None else f"program {met.prog_id}"
            text = f"{wanted} has {there}, wanted program {prog_id} to be taken over"
            raise HookBusyError(text, prog_id=(met.prog_id or 0) if met else 0, prog_name=met.name if met else "")
        return met.place
