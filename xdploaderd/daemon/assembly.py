"""The daemon's core, put together: options and the doors to the kernel in, the loop and its service out."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor as Pool
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from xdploaderd.daemon.apply.applying import Applier
from xdploaderd.daemon.apply.confirming import Confirming, boot_clock
from xdploaderd.daemon.apply.request_trial import RequestTrial
from xdploaderd.daemon.apply.starting import Start, choose_start
from xdploaderd.daemon.apply.transaction import Transaction
from xdploaderd.daemon.apply.trial import Trial
from xdploaderd.daemon.execute.adopting import Adopter
from xdploaderd.daemon.execute.attached_maps import AttachedMaps
from xdploaderd.daemon.execute.executor import Executor
from xdploaderd.daemon.execute.link_placing import LinkPlacer
from xdploaderd.daemon.execute.observe import Observer
from xdploaderd.daemon.execute.placing import Placer
from xdploaderd.daemon.execute.programs import OwnPrograms
from xdploaderd.daemon.execute.putting_back import PuttingBack
from xdploaderd.daemon.loop.orphans import Orphans
from xdploaderd.daemon.loop.reconcile import Reconciler
from xdploaderd.daemon.loop.report import running_stands
from xdploaderd.daemon.options import Options
from xdploaderd.daemon.pins.displaced import Displaced
from xdploaderd.daemon.pins.own_pins import OwnPins
from xdploaderd.daemon.service.requests import Requests, Stores
from xdploaderd.daemon.service.service import Service
from xdploaderd.daemon.state.core_logs import CoreLogs
from xdploaderd.daemon.state.drop_ins import DropIns
from xdploaderd.daemon.state.kept_objects import KeptObjects
from xdploaderd.daemon.state.known_kernel import KnownKernel
from xdploaderd.daemon.state.records import Held, Records, StateStore
from xdploaderd.daemon.state.restoring import Restoring
from xdploaderd.daemon.state.runtime_entries import RuntimeEntries
from xdploaderd.daemon.state.state_file import read_boot_id, sweep_unfinished
from xdploaderd.daemon.wanted.read_objects import ReadObjects
from xdploaderd.daemon.wanted.settings import ConfigSource, read_settings
from xdploaderd.daemon.wanted.wishes import Digests, Wishes
from xdploaderd.errors import LoaderError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.load.config_files import drop_in_dir
from xdploaderd.load.pinning_files import read_pinning
from xdploaderd.net.door import Netlink

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What the core reaches the world through; `worker` has one thread, in which all that blocks is done.

    `steady` gives seconds and never goes back, `boot` those since boot, sleep included.
    """

    rtnl: Netlink
    worker: Pool
    bpf: Bpf
    steady: Callable[[], float] = time.monotonic
    boot: Callable[[], float] = boot_clock


def assemble(options: Options, doors: Doors) -> tuple[Reconciler, Service]:
    """Return the loop, not running yet, and what front-ends ask; blocks.

    Raises ConfigError or FileError for bad files when no configuration was ever confirmed, LockedError where another
    daemon has the pins.
    """
    reader = partial(read_settings, options.config, options.pinning)
    bpf, boot_id = doors.bpf, read_boot_id()
    stores = _stores(options, boot_id)
    read = stores.read
    source = ConfigSource(read=reader, objects=read.read_all, config=options.config)
    confirming = Confirming(options.data_dir, read, boot_id=boot_id, clock=doors.boot)
    start = choose_start(reader, read.read_at_start, partial(read_pinning, options.pinning), confirming)
    if start.error:
        log.error("the last confirmed configuration is used: %s", start.error)
    records = Records(options.state_dir / "records", boot_id=boot_id)
    runtime = RuntimeEntries(options.state_dir / "runtime", boot_id=boot_id)
    digests = {**_runtime_digests(runtime, confirming, start, read), **start.digests}
    held = Held(options.state_dir / "held", boot_id=boot_id)
    restored = StateStore(options.state_dir / "restored", boot_id=boot_id)
    wishes = Wishes(start.settings, digests, held, runtime, read.read_first, Restoring(doors.steady, restored))
    pins = OwnPins(start.settings.pinning.root, bpf)
    pins.claim()
    core_logs = CoreLogs(options.state_dir / "core", boot_id=boot_id)
    kernel = KnownKernel(bpf, options.state_dir / "kernel", boot_id=boot_id)
    programs = OwnPrograms(kernel, pins, records, core_logs, read, lambda: wishes.settings_to_load)
    observer = Observer(doors.rtnl, programs, doors.worker, wishes.names)
    placer = Placer(doors.rtnl, bpf, LinkPlacer(doors.rtnl, bpf, pins.links))
    programs.before.displaced = displaced = Displaced(
        programs.before.directory, bpf, options.state_dir / "displaced", boot_id=boot_id
    )
    orphans = Orphans(
        options.orphan_grace,
        doors.steady,
        protected=lambda: confirming.protected_with(wishes.settings),
        gave_way=displaced.programs,
    )
    executor = Executor(placer, programs, doors.worker, displaced.hold, orphans.is_one)
    reconciler = Reconciler(wishes, observer, executor, orphans=orphans, clock=doors.steady)
    applier = Applier(reconciler, wishes, observer, executor, Transaction(executor, placer, programs, doors.worker))
    applier.putting_back = putting_back = PuttingBack(displaced, observer, doors.rtnl, placer, programs, doors.worker)
    requests = Requests(reconciler, wishes, stores, Adopter(observer, executor), applier)
    request = RequestTrial(options.state_dir / "trial", wishes, programs.before, boot_id=boot_id, clock=doors.boot)
    trial = Trial(applier, wishes, confirming, programs.before, request, start_error=start.error)
    if not request.seconds_left() and (request.waits() or start.error):
        request.undo()  # before the first look; the service sees to the rest
        reconciler.first = partial(_begin_roll_back, trial, wishes, observer, putting_back)
    requests.spared = lambda: (*request.spared(), *wishes.remembered())
    requests.spared_digests = lambda: request.digests() | programs.digests() | wishes.remembered_digests()
    requests.sweep()
    service = Service(reconciler, wishes, requests, trial, source, core_logs)
    service.attached_maps = AttachedMaps(bpf, pins, programs, doors.worker)
    return reconciler, service


async def _begin_roll_back(trial: Trial, wishes: Wishes, observer: Observer, putting_back: PuttingBack) -> None:
    """Note what runs before the first pass, which belongs to the roll-back, and put back what is not ours."""
    wanted = wishes.wanted()
    with suppress(LoaderError):  # the first pass tells
        trial.ran_at_start = running_stands(await observer.snapshot(wanted))
    await putting_back.put_back(wanted)


def _runtime_digests(runtime: RuntimeEntries, confirming: Confirming, start: Start, read: ReadObjects) -> Digests:
    """Bring the runtime entries back where a configuration on trial is not the one to begin with; return digests."""
    old: dict[PurePosixPath, str] = {}
    if confirming.pending is None:
        runtime.forget()  # it was confirmed just before the end of the last daemon
    elif start.error or not confirming.waits():
        old = {one.entry.object: one.sha1 for one in runtime.remembered() if one.sha1}
        runtime.bring_back()
    return {**read.read_at_start(runtime.all(), start.settings.limits), **old}


def _stores(options: Options, boot_id: str) -> Stores:
    for directory in (options.state_dir, options.data_dir):
        sweep_unfinished(directory)
    runtime = KeptObjects(options.state_dir / "objects", durable=False)
    permanent = KeptObjects(options.data_dir / "objects", durable=True)
    copies = KeptObjects(options.state_dir / "read-objects", durable=False)
    read = ReadObjects(copies, options.state_dir / "read", boot_id=boot_id, stores=(runtime, permanent))
    return Stores(runtime, permanent, DropIns(drop_in_dir(options.config)), read)
