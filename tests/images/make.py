"""Makes kinds/ (a small picture of each kind) and goldens.safetensors (what Pillow 13.0 and NumPy make of them).

    pip install pillow==13.0.0 numpy safetensors && python make.py
"""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import save_file

here = Path(__file__).parent
kinds = here / "kinds"
kinds.mkdir(exist_ok=True)
photo = Image.open(here / "chelsea.png").convert("RGB").crop((130, 60, 194, 108)).resize((32, 24))
rgb = np.asarray(photo)
height, width = rgb.shape[:2]
ramp = np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))


def write_png16(name, samples, colour):
    """Pillow writes no 16-bit colours."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (kinds / name).write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


grey, alpha = photo.convert("L"), Image.fromarray(ramp)
rgba = Image.merge("RGBA", (*photo.split(), alpha))
grey.save(kinds / "grey.png")
photo.convert("1").save(kinds / "bilevel.png")
Image.merge("LA", (grey, alpha)).save(kinds / "grey_alpha.png")
photo.quantize(16).save(kinds / "palette.png", bits=4)
photo.quantize(16).save(kinds / "palette_transparent.png", bits=4, transparency=bytes(range(0, 160, 10)))
rgba.save(kinds / "rgba.png")
photo.save(kinds / "transparent_colour.png", transparency=photo.getpixel((0, 0)))

# Samples whose lower 8 bits say something.
rgb16 = rgb.astype(np.uint16) * 256 + np.random.default_rng(0).integers(0, 256, rgb.shape, dtype=np.uint16)
alpha16 = (ramp.astype(np.uint16) * 257)[..., None]
write_png16("grey16.png", rgb16[..., 1], 0)
write_png16("rgb16.png", rgb16, 2)
write_png16("grey_alpha16.png", np.concatenate([rgb16[..., 1:2], alpha16], 2), 4)
write_png16("rgba16.png", np.concatenate([rgb16, alpha16], 2), 6)

photo.save(kinds / "baseline_420.jpg", quality=90)
photo.save(kinds / "baseline_444.jpg", quality=90, subsampling=0)
photo.save(kinds / "progressive_422.jpg", quality=80, subsampling=1, progressive=True)
grey.save(kinds / "grey.jpg", quality=90)
photo.convert("CMYK").save(kinds / "cmyk.jpg", quality=95)


def resampled(source, name, size, sampling):
    """A file's blocks in another order, as if luma had other samples for each of chroma's: Pillow writes no such files."""
    data = bytearray((kinds / source).read_bytes())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", *size)
    data[at + 6] = sampling
    (kinds / name).write_bytes(data)


photo.save(kinds / "baseline_422.jpg", quality=90, subsampling=1)
resampled("baseline_422.jpg", "resampled_440.jpg", (width, height), 0x12)
resampled("baseline_420.jpg", "resampled_411.jpg", (32, 32), 0x41)
photo.save(kinds / "restarted.jpg", quality=90, restart_marker_blocks=1)
photo.save(kinds / "progressive_420.jpg", quality=60, progressive=True, restart_marker_blocks=3)
photo.crop((0, 0, 13, 11)).save(kinds / "narrow_420.jpg", quality=80)
photo.save(kinds / "rgb.jpg", quality=90, keep_rgb=True)
photo.save(kinds / "lossy.webp", quality=80)
photo.save(kinds / "lossless.webp", lossless=True)
rgba.save(kinds / "alpha.webp", quality=80)

for orientation in range(1, 9):
    photo.crop((0, 0, 24, 16)).save(kinds / f"orientation_{orientation}.jpg", quality=95, exif=turned(orientation))
# Turned back, these two are the photo.
photo.transpose(Image.Transpose.ROTATE_90).save(kinds / "orientation_6.png", exif=turned(6))
photo.transpose(Image.Transpose.ROTATE_270).save(kinds / "orientation_8.webp", lossless=True, exif=turned(8))

goldens = {}
for path in sorted(kinds.iterdir()):
    picture = ImageOps.exif_transpose(Image.open(path))
    # Pillow clips 16-bit grey at 255; as for colours, the upper half is meant.
    upper = np.repeat((rgb16[..., 1:2] >> 8).astype(np.uint8), 3, 2)
    goldens[path.name] = upper if path.name == "grey16.png" else np.asarray(picture.convert("RGB"))


def resized(size, filter):
    return photo.resize(size, filter)


def cropped(picture, crop_width, crop_height):
    """The centre, black beyond the picture: Pillow's crop."""
    left, top = ((a - b) / 2 for a, b in zip(picture.size, (crop_width, crop_height)))
    left, top = (round(x) if x >= 0 else -int(-x) for x in (left, top))
    return picture.crop((left, top, left + crop_width, top + crop_height))


bicubic, bilinear = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR
# Pillow 13 resizes rows first where the width grows and the height shrinks, as no version before it did: not here.
goldens["exact 20x28"] = np.asarray(resized((28, 20), bicubic))
goldens["short 60, 48x48"] = np.asarray(cropped(resized((80, 60), bicubic), 48, 48))
goldens["short 60, 50x31 bilinear"] = np.asarray(cropped(resized((80, 60), bilinear), 31, 50))
goldens["short 20, 18x15 bilinear"] = np.asarray(cropped(resized((26, 20), bilinear), 15, 18))
goldens["short 16, 20x12"] = np.asarray(cropped(resized((21, 16), bicubic), 12, 20))
save_file({name: np.ascontiguousarray(golden) for name, golden in goldens.items()}, here / "goldens.safetensors")
