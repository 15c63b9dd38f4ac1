"""Makes resize.json and colour.json: what Pillow makes of images that are computed here.

pip install pillow==13.0.0; python make.py
"""

import colorsys
import json
import pathlib

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


def write(name, cases):
    made_by = f"Pillow {PIL.__version__}"
    text = json.dumps({"made_by": made_by, "cases": list(cases)}, separators=(",", ":"))
    (HERE / name).write_text(text + "\n")


write("resize.json", resized())
write("colour.json", coloured())
