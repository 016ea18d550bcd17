"""What `verbose` tells of a load: how the object was read, its maps, its programs."""

from collections.abc import Iterator

from xdploaderd.load.object import LoadedObject
from xdploaderd.uapi.bpf import MapType, ProgType, enum_name


def report(loaded: LoadedObject) -> Iterator[str]:
    """Yield a line on the object, one for each map, one for each program."""
    obj = loaded.prepared.spec
    yield f"object {obj.name}: {obj.dialect}, {obj.why}"
    for name, found in loaded.maps.items():
        spec, pin = found.spec, f", {'reused from' if found.reused else 'pinned at'} {found.pin}" if found.pin else ""
        sizes = f"key {spec.key_size}, value {spec.value_size} bytes, {spec.max_entries} entries, flags {spec.flags:#x}"
        yield f"map '{name}': id {found.info.id}, {enum_name(MapType, spec.type)}, {sizes}, read as {spec.rule}{pin}"
    for name, info in loaded.infos.items():
        insns = len(loaded.prepared.programs[name].insns) // 8
        section = loaded.prepared.programs[name].spec.section
        kind = enum_name(ProgType, info.type)
        yield f"prog '{name}': section '{section}', id {info.id}, {kind}, tag {info.tag}, {insns} instructions"
