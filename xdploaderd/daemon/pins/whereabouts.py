"""What is remembered of where our programs are: so that what others did is told from what the daemon did itself.

Written down before a hook changes, as a crash may come right after that.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import PurePosixPath

from xdploaderd.daemon.pins.own_pins import OwnPins
from xdploaderd.daemon.plan.rungs import Put
from xdploaderd.daemon.plan.world import Owned, Place, Record
from xdploaderd.daemon.state.records import Records
from xdploaderd.hooks import AttachKind, Hook
from xdploaderd.info import ProgInfo
from xdploaderd.uapi.bpf import Ifindex, ProgId


class Whereabouts:
    """The places of the programs in force, in their records. Raises PinError, KernelError where pins cannot be read."""

    def __init__(self, pins: OwnPins, records: Records) -> None:
        self._pins = pins
        self._records = records

    def record_of(self, name: str, prog: ProgInfo | None) -> Record | None:
        """Return what is remembered of an entry's program; None also where there is no program."""
        return self._records.find(name, prog.id) if prog is not None else None

    def label_of(self, name: str) -> str:
        """Return what a filter with the entry's program is called for other tools."""
        record = self.record_of(name, self._pins.prog(name))
        return f"{PurePosixPath(record.object).name}:[{record.program}]" if record is not None else name

    def moved(self, name: str, place: Place, strays: Sequence[Place] = ()) -> ProgInfo | None:
        """Remember that the program in force is now attached at `place`, and still at `strays`, which it leaves."""
        prog = self._pins.prog(name)
        record = self.record_of(name, prog)
        if prog is not None and record is not None:
            left = next((stray.ifindex for stray in strays), 0)
            self._records.put(prog.id, replace(at_place(record, place), left=left))
        return prog

    def took(self, name: str, place: Place, put: Put) -> str:
        """Remember where it was put, and in which conditions better modes were refused, for the next try.

        Return why they were refused, where that is news.
        """
        prog = self._pins.staged(name) or self._pins.prog(name)
        record = self.record_of(name, prog)
        if put.in_place or prog is None or record is None:
            return ""
        tried = place.conditions if put.refused else ""
        self._records.put(prog.id, replace(record, refused=put.refused, tried=tried, order=place.order))
        return put.refused if put.refused != record.refused else ""

    def went(self, owned: Sequence[Owned]) -> tuple[Owned, ...]:
        """Remember of these that the interface which they were attached to last went away; return them so."""
        gone, records = [], []
        for one in owned:
            record = self.record_of(one.name, one.prog)
            if one.prog is not None and record is not None and record == one.record:
                records.append((one.prog.id, replace(record, away=1)))
                gone.append(replace(one, record=records[-1][1]))
        self._records.put_all(records)
        return tuple(gone)

    def leaves(self, name: str, places: Sequence[Place]) -> Record | None:
        """Remember that we ourselves take the program in force off these places; return what was remembered before."""
        prog = self._pins.prog(name)
        record = self.record_of(name, prog)
        if prog is None or record is None or all(p.ifindex != record.ifindex for p in places):
            return None
        self._records.put(prog.id, replace(record, ifindex=0, left=record.ifindex, order=""))
        return record

    def goes_to(self, name: str, place: Place) -> Record | None:
        """Remember that a filter is about to be attached on another interface, which is looked at for its sake alone.

        Return what was remembered before; None where nothing changes.
        """
        prog = self._pins.prog(name)
        record = self.record_of(name, prog)
        found_anyway = place.hook is Hook.XDP or place.kind is AttachKind.LINK
        if found_anyway or prog is None or record is None or record.left or place.ifindex == record.ifindex:
            return None
        self._records.put(prog.id, replace(record, left=place.ifindex))
        return record

    def gives_way(self, name: str, place: Place) -> Record | None:
        """Remember that another program of ours takes the place of the one in force, as leaves() does."""
        record = self.record_of(name, self._pins.prog(name))
        return self.leaves(name, (place,)) if record is not None and record.is_at(place) else None

    def vacate(self, name: str, place: Place, prog_id: ProgId) -> tuple[Record, ...]:
        """Remember that no other entry has this program at that place; return what was remembered before."""
        known = ((key, record) for key, record in self._records.all() if record.is_at(place))
        there = [record for (owner, number), record in known if owner != name and number == prog_id]
        gone = [(prog_id, replace(record, ifindex=0, left=record.ifindex, order="")) for record in there]
        self._records.put_all(gone)
        return tuple(there)

    def stays(self, record: Record, left: Sequence[Place]) -> None:
        """Remember again what leaves() returned, unless the program was taken off there: it is among `left`."""
        prog = self._pins.prog(record.attachment)
        if prog is not None and not any(record.is_at(place) for place in left):
            self._records.put(prog.id, record)

    def as_before(self, name: str, record: Record) -> Record:
        """Return the record with what is known of refused modes, and of its order, where the program in force is."""
        before = self.record_of(name, self._pins.prog(name))
        if before is None or before.ifindex != record.ifindex:
            return record
        return replace(record, refused=before.refused, tried=before.tried, order=before.order)

    def makes_clsact(self, ifindex: Ifindex) -> None:
        """Remember that the daemon makes clsact on that interface, so that it goes with the last filter."""
        self._records.clsact_was_made(ifindex)

    def has_no_clsact(self, ifindex: Ifindex) -> None:
        """Forget about clsact of that interface: there is none, or it is of others."""
        self._records.keep_clsact_of(self._records.clsacts() - {ifindex})

    def clsacts(self) -> AbstractSet[Ifindex]:
        """Return the interfaces on which the daemon made clsact, or was about to."""
        return self._records.clsacts()

    def keep_clsact_of(self, ifindexes: AbstractSet[Ifindex]) -> None:
        """Forget about clsact of interfaces that are gone."""
        self._records.keep_clsact_of(ifindexes)

    def made_clsact(self, ifindex: Ifindex) -> bool:
        """Return whether the daemon made clsact there."""
        return self._records.made_clsact(ifindex)


def at_place(record: Record, place: Place) -> Record:
    """Return the record of a program that is, or is about to be, attached there."""
    return replace(
        record,
        interface=place.ifname,
        ifindex=place.ifindex,
        priority=place.priority,
        handle=place.handle,
        left=0,
        away=0,
    )
