"""Words of the languages of the text targets, for their mutators: what a grammar knows, and what it must not take."""

WORDS: dict[str, tuple[str, ...]] = {
    "pinning": (
        "root", "by-name", "object-ns", "global-ns", "include", "bpf_pinning", "/sys/fs/bpf", "..", ".", "//",
        "/", "3", "0x3", "007", "4294967295", "4294967296", "99999999999999999999", "#", " ", "\t", "\r", "\n",
        "\x00", "\x1b[2J", "tc/globals", "a" * 256, "é", "\ufeff", "\u2028", "-1", "+5", "0x", "\x0b",
    ),
    "attachments": (
        "attachments:", "- ", "name: ", "interface: ", "hook: ", "xdp", "tc-ingress", "object: /a",
        "program: p", "mode: skb", "priority: ", "handle: ", "force: ", "globals: {a: 1}",
        "max_entries: {m: 8}", "{", "}", "[", "]", ",", "&a ", "*a", "<<: ", "!!int ", "!t ", "---\n", "...\n",
        "%YAML 1.1\n", "|\n", ">\n", "? ", ": ", "'", '"', "\\x00", "\\uD800", "\n", "  ", "\t", "#", "~", "no",
        "0x7fffffff", "99999999999999999999", "é", "\ufeff", "\u2028", "\x85",
    ),
    "varlink": (
        "\x00", "{", "}", "[", "]", '"', ":", ",", '"method"', '"parameters"', '"oneway"', '"more"',
        '"upgrade"', '"error"', '"org.xdploaderd.Loader.Status"', '"org.xdploaderd.Loader.Attach"',
        '"org.varlink.service.GetInfo"', '"name"', '"org.varlink.service.GetInterfaceDescription"',
        '"interface"', "true", "false", "null", "1e999", "NaN", "-0", "1" * 400, "\\ud800", "\\u0000", "ÿ",
        "[" * 200, '{"a":' * 100, '{"method":"org.xdploaderd.Loader.List","parameters":{}}\x00',
        '{"parameters":{}}',
    ),
}  # fmt: skip
