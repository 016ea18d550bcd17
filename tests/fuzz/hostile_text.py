"""Texts and frames that no editor and no client writes, for the targets pinning, attachments and varlink."""

from collections.abc import Callable, Mapping

MIB = 1 << 20
ENTRY = "- {name: a%d, interface: e%d, hook: xdp, object: /o, program: p}\n"

PINNING: Mapping[str, Callable[[], bytes]] = {
    "one line of 1 MiB": lambda: b"a" * (MIB - 1),
    "one path of 1 MiB": lambda: b"root /" + b"a/" * (MIB // 2 - 8),
    "one number of 1 MiB": lambda: b"3" * (MIB - 8) + b" a",
    "one octal number of 1 MiB": lambda: b"0" * (MIB - 8) + b"7 a",
    "one hexadecimal number of 1 MiB": lambda: b"0x" + b"f" * (MIB - 8) + b" a",
    "spaces of 1 MiB": lambda: b" " * (MIB - 1),
    "words of 1 MiB in one line": lambda: b"root " + b"a " * (MIB // 2 - 8),
    "line ends of 1 MiB": lambda: b"\n" * (MIB - 1),
    "unknown words in 174,000 lines": lambda: b"rooot\n" * (MIB // 6 - 1),
    "unknown long words in 30,000 lines": lambda: (b"bynamebynamebynamebynamebyname-x\n") * (MIB // 34),
    "the same number in 250,000 lines": lambda: b"3 a\n" * (MIB // 4),
    "100,000 numbers": lambda: "".join(f"{number} a\n" for number in range(3, 100_003)).encode(),
    "numbers that are refused": lambda: b"4294967296 a\n" * (MIB // 14),
    "NULs": lambda: b"\0" * (MIB - 1),
    "control characters in every line": lambda: b"3 a\x1b[2J\n" * (MIB // 10),
    "no UTF-8 at the end": lambda: b"# " + "é".encode() * (MIB // 4) + b"\xff",
    "wide characters": lambda: "root /\U0001f600".encode() * 20_000,
    "right-to-left marks": "root /\u202e\u2066x\n".encode,
    "byte order marks": "\ufeff\ufeffroot /a\n".encode,
    "an include of itself": lambda: b"include pinning.conf\n" * 1000,
    "an include of a device": lambda: b"include /dev/zero\ninclude bpf_pinning /proc/self/mem\n",
    "components of 4,096 bytes": lambda: b"root /" + b"/".join([b"a" * 255] * 16) + b"\n3 " + b"b" * 256 + b"\n",
    "dots": lambda: b"3 ..\n4 .\n5 a/./b\n6 a//b\n7 /\n8 ./..\n",
    "digits of other scripts": "٣ a\n३ b\n\uff13 c\n".encode,
}


def _entries(count: int) -> bytes:
    return ("attachments:\n" + "".join(ENTRY % (number, number) for number in range(count))).encode()


ATTACHMENTS: Mapping[str, Callable[[], bytes]] = {
    "100,000 brackets": lambda: b"attachments: " + b"[" * 100_000,
    "1 MiB of brackets": lambda: b"[" * (MIB - 1),
    "100,000 braces": lambda: b"{a: " * 100_000,
    "100,000 dashes in one line": lambda: b"- " * 100_000,
    "100,000 question marks": lambda: b"? " * 100_000,
    "nesting by indentation": lambda: b"".join(b" " * depth + b"a:\n" for depth in range(1000)),
    "billion laughs": lambda: (
        b"a: &a [x]\n" + b"".join(b"%c: &%c [*%c,*%c]\n" % (c, c, c - 1, c - 1) for c in range(98, 120))
    ),
    "merge keys": lambda: b"a: &a {b: 1}\nc: {<<: *a, <<: *a}\n",
    "an alias of itself": lambda: b"&a [*a, *a]\n",
    "tags": lambda: b"attachments: !!python/object/apply:os.system [id]\n",
    "own tags": lambda: b"%TAG ! tag:x,2000:\n---\nattachments: !x []\n",
    "a key twice": lambda: b"attachments: []\nattachments: []\n",
    "a key twice, once in quotes": lambda: b'attachments: []\n"attachments": []\n',
    "a list as a key": lambda: b"? [a, b]\n: c\n",
    "an integer of 1,000,000 digits": lambda: b"attachments:\n- {priority: " + b"9" * 1_000_000 + b"}\n",
    "an integer of underscores": lambda: b"attachments:\n- {priority: " + b"1_" * 400_000 + b"1}\n",
    "a float": lambda: b"attachments:\n- {priority: 1e400, handle: .inf, force: .nan}\n",
    "a base 60 number": lambda: b"attachments:\n- {priority: " + b"1:" * 100_000 + b"1}\n",
    "NUL": lambda: b"attachments: []\n\0",
    "an escaped NUL": lambda: (
        b'attachments:\n- {name: "a\\0b", interface: "e\\0", hook: xdp, object: "/a\\0", program: "p\\0"}\n'
    ),
    "an escaped surrogate": lambda: (
        b'attachments:\n- {name: "\\uD800", interface: e, hook: xdp, object: "/\\uDFFF", program: p}\n'
    ),
    "an escaped terminal code": lambda: (
        b'attachments:\n- {"\\e[2J": 1, name: "\\e[2J", hook: "\\e", object: "\\n<3>x"}\n'
    ),
    "a dotted object": lambda: (
        b"attachments:\n- {name: a, interface: ., hook: xdp, object: /../../etc/shadow, program: ../p}\n"
    ),
    "a word of 1 MiB": lambda: b"attachments: " + b"a" * (MIB - 20),
    "a key of 1 MiB": lambda: b"a" * (MIB - 20) + b": 1",
    "a quoted key of 1 MiB": lambda: b'"' + b"a" * (MIB - 20) + b'": 1',
    "a block of 1 MiB": lambda: b"attachments: |\n" + b"  x\n" * (MIB // 4 - 10),
    "100,000 keys": lambda: b"".join(b"k%d: 1\n" % number for number in range(80_000)),
    "near keys in 10,000 entries": lambda: (
        b"attachments:\n" + b"- {interfac: 1, nam: 2, objct: 3, progra: 4}\n" * 10_000
    ),
    "10,000 entries": lambda: _entries(10_000),
    "4,000 entries of one name": lambda: b"attachments:\n" + (ENTRY % (1, 1)).encode() * 4000,
    "20,000 globals": lambda: (
        _entries(1)[:-2] + b", globals: {" + b",".join(b"g%d: 1" % n for n in range(20_000)) + b"}}\n"
    ),
    "200,000 empty entries": lambda: b"attachments:\n" + b"- \n" * 200_000,
    "100,000 comments": lambda: b"# x\n" * 200_000,
    "anchors": lambda: b"attachments: [" + b"&a x," * 100_000 + b"]",
    "two documents": lambda: b"attachments: []\n---\nattachments: []\n",
    "100,000 documents": lambda: b"---\n" * 100_000,
    "line separators": "attachments: []\u2028x: 1\u2029\x85".encode,
    "UTF-16": lambda: "attachments: []\n".encode("utf-16"),
    "tabs": lambda: b"attachments:\n\t- name: x\n",
}

CALL = b'{"method":"org.xdploaderd.Loader.Attach","parameters":%s}\0'
VARLINK: Mapping[str, Callable[[], bytes]] = {
    "8 MiB without NUL": lambda: b"x" * (8 * MIB),
    "8 MiB of one string": lambda: b'{"method":"' + b"x" * (8 * MIB) + b'"}\0',
    "a million NULs": lambda: b"\0" * 1_000_000,
    "10,000 calls at once": lambda: CALL % b'{"name":"x"}' * 10_000,
    "deep lists": lambda: CALL % (b"[" * 60_000),
    "deep closed lists": lambda: CALL % (b"[" * 30_000 + b"]" * 30_000),
    "deep objects": lambda: CALL % (b'{"a":' * 12_000),
    "deep closed objects": lambda: CALL % (b'{"a":' * 9_000 + b"1" + b"}" * 9_000),
    "a name that is deep": lambda: CALL % (b'{"name":' + b"[" * 800 + b"]" * 800 + b"}"),
    "a number of 60,000 digits": lambda: CALL % (b'{"name":' + b"9" * 60_000 + b"}"),
    "a float beyond all": lambda: CALL % b'{"name":1e999999}',
    "not a number": lambda: CALL % b'{"name":NaN}',
    "a lone surrogate": lambda: CALL % b'{"name":"\\ud800"}',
    "an escaped NUL": lambda: CALL % b'{"name":"a\\u0000b"}',
    "terminal codes": lambda: CALL % b'{"name":"\\u001b[2J\\n<3>x"}',
    "a long name": lambda: CALL % (b'{"name":"' + b"x" * 60_000 + b'"}'),
    "the same key 5,000 times": lambda: CALL % (b"{" + b'"name":"x",' * 5_000 + b'"name":"y"}'),
    "no object": lambda: b"[]\0" + b"1\0" + b'"x"\0' + b"null\0" + b"true\0",
    "no method": lambda: b"{}\0",
    "a method of the wrong type": lambda: b'{"method":7}\0{"method":[]}\0{"method":null}\0',
    "parameters of the wrong type": lambda: CALL % b"7" + CALL % b"[]" + CALL % b'"x"' + CALL % b"null",
    "a method without a dot": lambda: b'{"method":"x"}\0{"method":""}\0{"method":"."}\0{"method":"a."}\0',
    "flags of the wrong type": lambda: b'{"method":"org.xdploaderd.Loader.List","oneway":"x","more":[],"upgrade":7}\0',
    "more of what gives one": lambda: b'{"method":"org.xdploaderd.Loader.List","more":true,"oneway":true}\0',
    "upgrade": lambda: b'{"method":"org.xdploaderd.Loader.List","upgrade":true}\0rest',
    "no UTF-8": lambda: b'{"method":"\xff\xfe"}\0',
    "UTF-16": lambda: '{"method":"x"}'.encode("utf-16") + b"\0",
    "half a frame": lambda: b'{"method":"org.xdploaderd.Loader.List"',
    "an error of an error": lambda: (
        b'{"error":"org.xdploaderd.Loader.VerifierRejected","parameters":{"log":7,"message":[]}}\0'
    ),
    "an error with a deep field": lambda: b'{"error":"x","parameters":{"a":' + b"[" * 900 + b"]" * 900 + b"}}\0",
    "an error with terminal codes": lambda: (
        b'{"error":"org.xdploaderd.Loader.Failed","parameters":{"message":"\\u001b[2J\\nx"}}\0'
    ),
    "an error with a lone surrogate": lambda: (
        b'{"error":"org.xdploaderd.Loader.Failed","parameters":{"message":"\\ud800"}}\0'
    ),
    "an error of another interface": lambda: (
        b'{"error":"org.varlink.service.\\u001b","parameters":{"\\n":"\\ud800"}}\0'
    ),
    "an error of 10 MiB": lambda: (
        b'{"error":"org.xdploaderd.Loader.Failed","parameters":{"message":"' + b"x" * (10 * MIB) + b'"}}\0'
    ),
}
