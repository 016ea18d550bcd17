"""The daemon's entry: options, lock, the parts put together, signals; ends with an exit status of errors.py."""

import asyncio
import logging
import signal
import socket
import sys
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from xdploaderd import install
from xdploaderd.control.dbus import DbusServer
from xdploaderd.control.listener import listening
from xdploaderd.control.server import ControlServer
from xdploaderd.daemon.assembly import Doors, assemble
from xdploaderd.daemon.loop.link_watch import watch_links
from xdploaderd.daemon.loop.reconcile import Reconciler
from xdploaderd.daemon.loop.watching import watch
from xdploaderd.daemon.options import Options, parse_options
from xdploaderd.daemon.plan.status import DaemonStatus
from xdploaderd.daemon.service.service import Service
from xdploaderd.daemon.state.lock import state_lock
from xdploaderd.daemon.wanted.settings import check_objects, read_settings
from xdploaderd.errors import FileError, LoaderError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import give_back_memory
from xdploaderd.kernel.target import running_kernel
from xdploaderd.log import setup_logging, stderr_is_journal
from xdploaderd.net.rtnl import Rtnl
from xdploaderd.notify import Notifier, watchdog_period

log = logging.getLogger("xdploaderd.main")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon, `--check` or a command of install; return the exit status."""
    args = sys.argv[1:] if argv is None else argv
    try:
        if args and args[0] in install.COMMANDS:
            return install.main(args)
        options = parse_options(args)
        setup_logging(options.log_level, journal=stderr_is_journal())
        return _check(options) if options.check else _run(options)
    except LoaderError as error:
        setup_logging(logging.ERROR, journal=stderr_is_journal())
        log.error("%s", error, extra={"ERROR_CODE": error.code})
        return error.exit_status


def _check(options: Options) -> int:
    """Tell of every entry whether its program could be prepared for this kernel."""
    settings = read_settings(options.config, options.pinning)
    bpf = Bpf()
    status = 0
    for config, error in check_objects(settings, partial(running_kernel, bpf)):
        sys.stdout.write(f"{config.name}: ok\n" if error is None else f"{error}\n")
        status = status or (0 if error is None else error.exit_status)
    return status


def _run(options: Options) -> int:
    give_back_memory()
    try:
        options.state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"state directory '{options.state_dir}' cannot be made: {error.strerror}") from error
    with (
        state_lock(options.state_dir / "lock"),
        listening(options.socket) as control,
        ThreadPoolExecutor(1, "worker") as worker,
    ):
        asyncio.run(_serve(options, worker, control))
    return 0


async def _serve(options: Options, worker: ThreadPoolExecutor, control: socket.socket) -> None:
    """Run every part until SIGTERM or SIGINT; programs stay attached."""
    notifier, stop, hup = Notifier(), asyncio.Event(), asyncio.Event()
    for number, event in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, hup)):
        asyncio.get_running_loop().add_signal_handler(number, event.set)
    async with await Rtnl.open() as rtnl:
        reconciler, service = assemble(options, Doors(rtnl=rtnl, worker=worker, bpf=Bpf()))
        jobs: tuple[Coroutine[None, None, None], ...] = (
            reconciler.run(),
            ControlServer(service, control).run(),
            watch(rtnl.changes, reconciler),
            watch_links(reconciler),
            _report(service, notifier),
            _announce(reconciler, service, notifier),
            _reload_on_hup(service, notifier, hup),
            _feed_watchdog(notifier),
            service.keep_trials(),
            *_bus_jobs(options.bus, service),
        )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
            await stop.wait()
            notifier.stopping()
            for task in tasks:
                task.cancel()


def _bus_jobs(bus: str, service: Service) -> Iterator[Coroutine[None, None, None]]:
    if bus != "none":
        yield DbusServer(service, address=None if bus == "system" else bus).run()


async def _announce(reconciler: Reconciler, service: Service, notifier: Notifier) -> None:
    """Tell the service manager that all has been tried once."""
    await reconciler.settled()
    notifier.ready(_summary(await service.status()))


async def _report(service: Service, notifier: Notifier) -> None:
    """Keep the service manager's status line true."""
    while True:
        notifier.status(_summary(await service.next_change()))


async def _reload_on_hup(service: Service, notifier: Notifier, hup: asyncio.Event) -> None:
    """Reload at SIGHUP; any number of signals during a reload ask for one more."""
    while True:
        await hup.wait()
        hup.clear()
        notifier.reloading()
        with suppress(LoaderError):  # told by the service; the last good configuration stays
            await service.reload()
        notifier.ready(_summary(await service.status()))


async def _feed_watchdog(notifier: Notifier) -> None:
    period = watchdog_period()
    while period is not None:
        notifier.alive()
        await asyncio.sleep(period)


def _summary(status: DaemonStatus) -> str:
    counts = Counter(attachment.state.value for attachment in status.attachments)
    states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "nothing configured"
    return f"{states}; configuration not reloaded: {status.config_error}" if status.config_error else states


if __name__ == "__main__":
    sys.exit(main())
