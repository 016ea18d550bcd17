"""What differs between our load of one object and libbpf's: instructions, tags, maps, their contents, BTF."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.oracle.test_prepare_oracle import map_fields, masked
from tests.support import libbpf
from xdploaderd.load.object import LoadedObject


def differences(path: Path, loaded: LoadedObject, theirs: libbpf.Loaded) -> Iterator[str]:
    """Yield what differs; descriptors, which differ in each load, are masked."""
    prepared = loaded.prepared
    if theirs.error or theirs.programs.keys() != prepared.programs.keys():
        yield f"{path.name}: libbpf loads {sorted(theirs.programs)} with error {theirs.error}"
        return
    for name, program in prepared.programs.items():
        if masked(program.insns) != masked(theirs.programs[name]):
            yield f"{path.name}: instructions of {name}"
        if loaded.infos[name].tag != theirs.tags[name]:
            yield f"{path.name}: tag of {name}"
    if {spec.name: map_fields(spec) for spec in prepared.maps.values()} != theirs.maps:
        yield f"{path.name}: maps"
    for spec in prepared.maps.values():
        if spec.section and (spec.contents or bytes(spec.value_size)) != theirs.contents[spec.name]:
            yield f"{path.name}: contents of {spec.name}"
    refused = any(warning.startswith("loaded without BTF") for warning in loaded.warnings)
    if ("" if refused else _btf_text(prepared.btf)) != theirs.btf:
        yield f"{path.name}: BTF"


def _btf_text(raw: bytes | None) -> str:
    if raw is None:
        return ""
    with tempfile.NamedTemporaryFile(suffix=".btf") as file:
        file.write(raw)
        file.flush()
        return libbpf.dump_btf_file(Path(file.name))
