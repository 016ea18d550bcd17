"""The model of xdploaderd.yaml: which keys there are and what they may hold; its JSON Schema comes from it too."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from xdploaderd.config.field_values import (
    DEFAULT_HANDLE,
    DEFAULT_PRIORITY,
    HANDLE_MAX,
    IFNAME_MAX,
    MAX_ATTACHMENTS,
    MAX_ENTRIES,
    NAME_PATTERN,
    PRIORITY_MAX,
    PROGRAM_MAX,
    read_attach,
    read_bool,
    read_classid,
    read_globals,
    read_hook,
    read_interface,
    read_limits,
    read_map_init,
    read_maps,
    read_match,
    read_max_entries,
    read_mode,
    read_modes,
    read_name,
    read_no_maps,
    read_number,
    read_object,
    read_on_foreign,
    read_on_mismatch,
    read_order,
    read_program,
    read_protocol,
    read_share,
    read_word,
)
from xdploaderd.config.interface_match import ANY, Match
from xdploaderd.hooks import ETH_P_ALL, AttachKind, Hook, MapSharing, OnForeign, OnMismatch, XdpMode
from xdploaderd.limits import LIMIT_MAX, LIMIT_NAMES

_TEXT_SCHEMA = {"type": "string", "minLength": 1}
_MATCH_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "minProperties": 1,
    "properties": {
        "name": {**_TEXT_SCHEMA, "description": "name of the interface, or a glob"},
        "altname": {**_TEXT_SCHEMA, "description": "alternative name of the interface, or a glob"},
        "mac": {**_TEXT_SCHEMA, "description": "hardware address"},
        "driver": {**_TEXT_SCHEMA, "description": "driver as ethtool -i tells it, or kind of link"},
        "ifindex": {"type": "integer", "minimum": 1, "description": "index of the interface"},
    },
}


class AttachmentModel(BaseModel):
    """One program attached to one hook of one interface, or of each interface that fits."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        title="attachment",
        json_schema_extra={"oneOf": [{"required": ["interface"]}, {"required": ["match"]}]},
    )

    name: Annotated[str, BeforeValidator(read_word), AfterValidator(read_name)] = Field(
        description="unique name of the attachment", json_schema_extra={"pattern": f"^{NAME_PATTERN.pattern}$"}
    )
    interface: Annotated[str, BeforeValidator(read_word), AfterValidator(read_interface)] = Field(
        default="",
        description="name of the network interface; it may appear later",
        json_schema_extra={"minLength": 1, "maxLength": IFNAME_MAX},
    )
    match: Annotated[Match, BeforeValidator(read_match), WithJsonSchema(_MATCH_SCHEMA)] = Field(
        default=ANY, description="what an interface must be, in place of its name; all that is given must hold"
    )
    hook: Annotated[Hook, BeforeValidator(read_hook)] = Field(description="where on the interface the program runs")
    object: Annotated[str, BeforeValidator(read_word), AfterValidator(read_object)] = Field(
        description="absolute path of the BPF object file", json_schema_extra={"pattern": "^/"}
    )
    program: Annotated[str, BeforeValidator(read_word), AfterValidator(read_program)] = Field(
        description="name of the program's function, or of its section where it has none",
        json_schema_extra={"minLength": 1, "maxLength": PROGRAM_MAX},
    )
    mode: Annotated[XdpMode, BeforeValidator(read_mode)] = Field(
        default=XdpMode.UNSPECIFIED, description="how XDP is run; on hook xdp only"
    )
    modes: Annotated[list[XdpMode], BeforeValidator(read_modes)] = Field(
        default=[],
        description="modes of XDP in the order in which they are tried, instead of mode; on hook xdp only",
        json_schema_extra={"minItems": 1, "uniqueItems": True},
    )
    attach: Annotated[AttachKind, BeforeValidator(read_attach)] = Field(
        default=AttachKind.NETLINK,
        description="netlink: as ip and tc attach, seen and changed by every tool; link: a pinned bpf_link, on tc TCX",
    )
    order: Annotated[str, BeforeValidator(read_order)] = Field(
        default="",
        description="where among the programs of a TCX hook: first, last, before or after another; with attach: link",
        json_schema_extra={"type": ["string", "object"]},
    )
    priority: Annotated[int, Field(ge=1, le=PRIORITY_MAX), BeforeValidator(read_number)] = Field(
        default=DEFAULT_PRIORITY, description="priority of the tc filter, lower runs first; on tc hooks only"
    )
    handle: Annotated[int, Field(ge=1, le=HANDLE_MAX), BeforeValidator(read_number)] = Field(
        default=DEFAULT_HANDLE, description="handle of the tc filter within its priority; on tc hooks only"
    )
    protocol: Annotated[int, BeforeValidator(read_protocol)] = Field(
        default=ETH_P_ALL,
        description="protocol the tc filter looks at: all, ip, ipv6, arp, ... or its EtherType; on tc hooks only",
        json_schema_extra={"type": ["string", "integer"]},
    )
    classid: Annotated[int, BeforeValidator(read_classid)] = Field(
        default=0,
        description="class that the tc filter gives to packets: MAJOR:MINOR in hex, or a number; on tc hooks only",
        json_schema_extra={"type": ["string", "integer"]},
    )
    force: Annotated[bool, BeforeValidator(read_bool)] = Field(
        default=False, description="replace a program that somebody else put on the hook"
    )
    allow_gap: Annotated[bool, BeforeValidator(read_bool)] = Field(
        default=False, description="make changes that leave a moment without a program: of mode, kind or place"
    )
    on_foreign: Annotated[OnForeign, BeforeValidator(read_on_foreign)] = Field(
        default=OnForeign.REPORT,
        description="what is done when somebody else takes the program off: report it, restore it, or yield",
    )
    globals: Annotated[dict[str, str], BeforeValidator(read_globals)] = Field(
        default={},
        description="initial values of the object's variables, by name",
        json_schema_extra={"additionalProperties": {"type": ["string", "number", "boolean"]}},
    )
    max_entries: Annotated[dict[str, int], BeforeValidator(read_max_entries)] = Field(
        default={},
        description="numbers of entries of the object's maps, by name",
        json_schema_extra={"additionalProperties": {"type": "integer", "minimum": 1, "maximum": MAX_ENTRIES}},
    )
    maps: Annotated[MapSharing, BeforeValidator(read_maps)] = Field(
        default=MapSharing.PER_INTERFACE,
        description="shared: entries with the same object, program and values share one loaded program and its maps",
    )
    share: Annotated[dict[str, str], BeforeValidator(read_share)] = Field(
        default={}, description="pins that maps of the object share with others, by map: a name, or a path"
    )
    no_maps: Annotated[list[str], BeforeValidator(read_no_maps)] = Field(
        default=[], description="maps of the object that are not made, for programs that never come to use them"
    )
    map_init: Annotated[dict[str, str], BeforeValidator(read_map_init)] = Field(
        default={},
        description="JSON files with the entries that new maps of the object hold from the start, by map",
        json_schema_extra={"additionalProperties": {"type": "string", "pattern": "^/"}},
    )
    keep_maps: Annotated[list[str], BeforeValidator(read_no_maps)] = Field(
        default=[], description="unpinned maps that go over, with what they hold, to the program of a changed object"
    )
    on_mismatch: Annotated[OnMismatch, BeforeValidator(read_on_mismatch)] = Field(
        default=OnMismatch.REFUSE,
        description="what is done when a pinned map differs from the object's: refuse it, recreate it empty, or migrate"
        " its entries to a new one",
    )


class FileModel(BaseModel):
    """A configuration file of xdploaderd."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="xdploaderd.yaml")

    attachments: list[AttachmentModel] = Field(default=[], description="the programs that are wanted")
    protect: list[str] = Field(
        default=[],
        description="interfaces whose programs change by `apply --confirm` alone",
        max_length=MAX_ATTACHMENTS,
    )
    limits: Annotated[dict[str, int], BeforeValidator(read_limits)] = Field(
        default={},
        description="bounds on what an object may ask for, by name",
        json_schema_extra={
            "additionalProperties": False,
            "properties": {name: {"type": "integer", "minimum": 0, "maximum": LIMIT_MAX} for name in LIMIT_NAMES},
        },
    )


def attachments_schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration file."""
    return FileModel.model_json_schema()
