"""Makes the hostile files of this folder, and a few that are only unusual. No libraries are needed; see README.md."""

import struct
import zlib
from pathlib import Path

here = Path(__file__).parent


def entry(name, dtype="F32", shape="[2]", begin=0, end=8):
    return f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}'


def write(name, entries, data=8, size=None):
    header = entries if isinstance(entries, bytes) else ("{" + ",".join(entries) + "}").encode()
    data = data if isinstance(data, bytes) else bytes(data)
    size = len(header) if size is None else size
    (here / f"{name}.safetensors").write_bytes(struct.pack("<Q", size) + header + data)


# Refused.
write("two-of-a-name", [entry("a"), entry("a", begin=8, end=16)], 16)
write("two-of-a-field", [entry("a").replace('"shape"', '"shape":[1],"shape"')])
write("two-metadata", ['"__metadata__":{"x":"1"}', '"__metadata__":{}', entry("a")])
write("name-with-nul", [entry(r"x\u0000y")])
write("name-with-escape-code", [entry(r"\u001b[2J\u001b[31mred")])
write("name-is-a-path", [entry("../../etc/passwd")])
write("name-is-empty", [entry("")])
write("hole", [entry("a"), entry("b", begin=12, end=20)], 20)
write("hole-at-the-start", [entry("a", begin=4, end=12)], 12)
write("overlap", [entry("a"), entry("b", begin=4, end=12)], 12)
write("the-same-bytes", [entry("a"), entry("b")])
write("cut-off", [entry("a")], 7)
write("trailing", [entry("a")], 9)
write("size-overflows", [entry("a", shape="[4294967296,4294967296]")])
write("size-overflows-with-zero", [entry("a", shape="[4294967296,4294967296,0]", end=0)], 0)
write("offset-overflows", [entry("a", begin=2**64 - 9, end=2**64 - 1)])
write("extent-overflows", [entry("a", shape="[18446744073709551616]")])
write("shape-disagrees", [entry("a", shape="[3]")])
write("negative-extent", [entry("a", shape="[-2]")])
write("unknown-type", [entry("a", dtype="F31")])
write("half-a-byte", [entry("a", dtype="F4", shape="[3]", end=2)], 2)
write("too-many-extents", [entry("a", shape=str([1] * 65), end=4)], 4)
write("header-of-100-mb", [entry("a")], size=100_000_000)
write("header-beyond-the-file", [entry("a")], size=1000)
write("header-not-utf8", b'{"\xff')
write("header-too-deep", b'{"a":' * 500, 0)
write("header-is-a-list", b"[]", 0)
write("header-after-space", b" {}", 0)
(here / "header-cut-off.safetensors").write_bytes(b"\x10\0\0\0")
(here / "zip.safetensors").write_bytes(b"PK\x03\x04\x14\0\0\0\x08\0")

# Read.
write("odd-header", b"{" + entry("a").encode() + b"}" + b" " * 3)
write("nothing", b"{}", 0)
halves = struct.pack("<4e", 1.5, 6e-8, -65504.0, float("inf"))
write("other-floats", [entry("h", "F16", "[2,2]"), entry("b", "BF16", "[1]", 8, 10), entry("d", "F64", "[1]", 10, 18)],
      halves + b"\x40\xc0" + struct.pack("<d", 0.1))
write("not-finite", [entry("a", shape="[2,2]", end=16), entry("zero", shape="[2,3]", begin=16, end=40)],
      struct.pack("<4f", 1.0, float("nan"), float("-inf"), 2.0) + bytes(24))
write("integers", ['"__metadata__":{"format":"pt","note":"\\u001b[31m"}', entry("a.relative_position_index", "I64", "[1]"),
                   entry("b", "I8", "[3]", 8, 11)], 11)

# Pictures of 60,000 by 60,000 pixels that are not there, and one that ends within.
chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
sides = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
(here / "bomb.png").write_bytes(
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", sides) + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b""))
photo = (here / "../../images/kinds/baseline_444.jpg").read_bytes()
at = photo.index(b"\xff\xc0") + 5
(here / "bomb.jpg").write_bytes(photo[:at] + struct.pack(">HH", 60_000, 60_000) + photo[at + 4 :])
(here / "cut-off.jpg").write_bytes(photo[: len(photo) * 2 // 3])

# Descriptions and programs.
(here / "deep.toml").write_text("a = " + "[" * 500)
(here / "large.toml").write_text(
    "[model]\nname = 'x'\nimage = 65536\nchannels = 65536\npatch = 1\nwindow = 65536\nembed = 65536\n"
    "depths = [1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000]\nheads = [1, 1, 1, 1, 1, 1, 1, 1]\nclasses = 65536\n")
