"""Makes resize.json, colour.json and decode.json: what Pillow makes of images that are computed here.

pip install pillow==13.0.0; python make.py
"""

import colorsys
import io
import json
import pathlib
import random

import PIL
from PIL import Image, ImageEnhance

HERE = pathlib.Path(__file__).parent
FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
SIZES = [((35, 35), (9, 9)), ((21, 40), (12, 16)), ((30, 17), (13, 17)), ((12, 10), (20, 15))]


def value(c, y, x):
    if (x * x + 7 * y + 31 * c) % 97 < 9:
        return 0
    if x > y and y % 10 < 3:
        return 255
    return (3 * x + 5 * y * (c + 1) + 40 * c) % 256


def image(height, width):
    pixels = [tuple(value(c, y, x) for c in range(3)) for y in range(height) for x in range(width)]
    made = Image.new("RGB", (width, height))
    made.putdata(pixels)
    return made


def planar(picture):
    return [byte for plane in picture.split() for byte in plane.tobytes()]


def resized():
    for name, kernel in FILTERS.items():
        for source, target in SIZES:
            made = image(*source).resize(target[::-1], kernel)
            yield {"filter": name, "from": source, "to": target, "planar": planar(made)}


def hue(picture, shift):
    """Each pixel's hue moved by a fraction of the circle, by Python's own colorsys."""
    planes = [plane.tobytes() for plane in picture.split()]
    out = []
    for r, g, b in zip(*planes):
        h, s, v = colorsys.rgb_to_hsv(r / 255, g / 255, b / 255)
        out.append(colorsys.hsv_to_rgb((h + shift) % 1.0, s, v))
    return [round(pixel[c], 6) for c in range(3) for pixel in out]


def coloured():
    source = image(8, 8)
    for name, change in [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ]:
        for factor in (0.6, 1.4):
            made = planar(change(source).enhance(factor))
            yield {"change": name, "factor": factor, "planar": [round(byte / 255, 6) for byte in made]}
    for factor in (-0.3, 0.1):
        yield {"change": "hue", "factor": factor, "planar": hue(source, factor)}


def noise():
    draw = random.Random(0)
    made = Image.new("RGB", (16, 12))
    made.putdata([tuple(draw.randrange(256) for _ in range(3)) for _ in range(16 * 12)])
    return made


def turned():
    exif = Image.Exif()
    exif[0x112] = 6
    return exif


def decoded():
    """Image files of each kind, what they are in modes RGB and L, and by how much a decoder may differ."""
    jpeg = {"format": "JPEG", "quality": 90}
    for name, mode, tolerance, options in [
        ("png", "RGB", 0, {"format": "PNG"}),
        ("png grey", "L", 0, {"format": "PNG"}),
        ("png palette", "P", 0, {"format": "PNG"}),
        ("png palette with a transparent colour", "P", 0, {"format": "PNG", "transparency": 3}),
        ("png bits", "1", 0, {"format": "PNG"}),
        ("png alpha", "RGBA", 0, {"format": "PNG"}),
        ("png grey alpha", "LA", 0, {"format": "PNG"}),
        ("jpeg full colour", "RGB", 3, {**jpeg, "subsampling": 0}),
        ("jpeg half colour", "RGB", 8, {**jpeg, "subsampling": 2}),
        ("jpeg progressive", "RGB", 8, {**jpeg, "subsampling": 2, "progressive": True}),
        ("jpeg grey", "L", 1, jpeg),
        ("jpeg cmyk", "CMYK", 3, jpeg),
        ("jpeg with an orientation", "RGB", 3, {**jpeg, "subsampling": 0, "exif": turned()}),
    ]:
        file = io.BytesIO()
        noise().convert(mode).save(file, **options)
        picture = Image.open(file)
        yield {
            "name": name,
            "tolerance": tolerance,
            "file": file.getvalue().hex(),
            "rgb": bytes(planar(picture.convert("RGB"))).hex(),
            "grey": picture.convert("L").tobytes().hex(),
        }


def write(name, cases):
    made_by = f"Pillow {PIL.__version__}"
    text = json.dumps({"made_by": made_by, "cases": list(cases)}, separators=(",", ":"))
    (HERE / name).write_text(text + "\n")


write("resize.json", resized())
write("colour.json", coloured())
write("decode.json", decoded())
