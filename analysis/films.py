"""Films of lifetimes, without a display: .mp4 through the ffmpeg that imageio brings, or .gif."""

import importlib
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from commands.options import can_be_made

LIBRARIES = {".mp4": ("imageio", "imageio_ffmpeg"), ".gif": ("imageio",)}  # what each kind needs
GIF_FPS = 25  # browsers slow down faster ones, and every picture is bytes
WIDTHS = {".mp4": (320, 1280), ".gif": (320, 400)}  # of a picture: made so by whole factors
CAPTION = 24  # pixels above the picture
SAME_FPS = 30  # where the environment does not tell
# Okabe & Ito's blue and vermillion through white: for weights below, at and above 0
COLOURS = np.array([[0, 114, 178], [255, 255, 255], [213, 94, 0]], float)
RAMP = np.stack([np.interp(np.linspace(0, 2, 255), range(3), c) for c in COLOURS.T], 1)
RAMP = RAMP.round().astype(np.uint8)


def library(name: str):
    """Import what only figures and films need; ValueError that says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        packages = "matplotlib imageio imageio-ffmpeg"
        raise ValueError(f"this needs {name.split('.')[0]}: pip install {packages}") from error


def check_film(path: str) -> None:
    """ValueError unless a film can be made there."""
    check_file(path, tuple(LIBRARIES))
    for name in LIBRARIES[Path(path).suffix.lower()]:
        library(name)


def check_file(path: str, suffixes: tuple[str, ...]) -> None:
    """ValueError unless a file of one of these kinds can be made there."""
    if Path(path).suffix.lower() not in suffixes:
        raise ValueError(f"{path}: its name must end in {' or '.join(suffixes)}")
    can_be_made(path)


def frames_per_second(env) -> float:
    """Pictures per second at which the environment plays at its own speed."""
    known = getattr(env.unwrapped, "metadata", None) or {}
    return float(known.get("render_fps") or known.get("video.frames_per_second") or SAME_FPS)


class Reel:
    """An on_step that keeps pictures of one lifetime: the environment below a line with step and
    cumulative reward, and beside it, on request, the weights of a layer.

    path: of the film; its kind decides how many pictures, and how large. render: gives (H, W, 3)
    uint8. fps: of the steps. layer: its number from 1, or None. notes: step -> words that join the
    line from that many steps on. pictures: of the film so far, each as the bytes of a .png.
    """

    def __init__(
        self,
        path: str,
        render: Callable,
        fps: float,
        layer: int | None = None,
        notes: dict[int, str] | None = None,
    ):
        self.render, self.layer, self.notes = render, layer, notes or {}
        self.total, self.pictures, self.pending = 0.0, [], None
        self.widths, self.every = WIDTHS[Path(path).suffix.lower()], steps_per_picture(path, fps)

    def __call__(self, t, activations, weights, reward):
        self.total += reward
        self.pending = t, weights
        if t % self.every == 0:
            self.shoot()

    def shoot(self) -> None:
        """Add the picture of the present moment, if there is none of it yet."""
        if not self.pending:
            return
        (t, weights), self.pending = self.pending, None
        picture = self.render()
        if not isinstance(picture, np.ndarray) or picture.ndim != 3:
            raise ValueError("this environment gives no picture (render_mode rgb_array)")
        notes = [words for step, words in self.notes.items() if t + 1 >= step]
        panels = [
            captioned(
                fitted(picture, *self.widths), [f"step {t + 1}   reward {self.total:.1f}", *notes]
            )
        ]
        if self.layer:
            layer, height = weights[self.layer - 1], panels[0].shape[0] - CAPTION
            top = float(np.abs(layer).max())
            n_post, n_pre = layer.shape
            reach = f"{top:.2g}" if top < 100 else f"{top:.0f}"
            words = f"layer {self.layer}: {n_post} post x {n_pre} pre, ±{reach}"
            panels.append(captioned(heat_map(layer, top, height), [words]))
        packed = io.BytesIO()
        image = library("PIL.Image").fromarray(np.concatenate(panels, axis=1))
        image.save(packed, "png", compress_level=1)
        self.pictures.append(packed.getvalue())


def steps_per_picture(path: str, fps: float) -> int:
    return max(1, round(fps / GIF_FPS)) if Path(path).suffix.lower() == ".gif" else 1


def write_film(path: str, reels: Sequence[Reel], fps: float) -> int:
    """Lifetimes side by side, in which an ended one stands still; the number of pictures. The file
    is there when it is whole, and only then."""
    imageio, image = library("imageio.v2"), library("PIL.Image")
    every = steps_per_picture(path, fps)
    kind = {"mode": "I", "duration": 1000 * every / fps, "loop": 0}
    if Path(path).suffix.lower() == ".mp4":
        kind = {"fps": fps, "codec": "libx264", "macro_block_size": 2, "quality": 7}
    temporary = Path(path).with_name(f".{Path(path).stem}.tmp{Path(path).suffix}")
    length = max(len(reel.pictures) for reel in reels)
    try:
        with imageio.get_writer(temporary, **kind) as writer:
            for k in range(length):
                packed = [reel.pictures[min(k, len(reel.pictures) - 1)] for reel in reels]
                panels = [np.asarray(image.open(io.BytesIO(one))) for one in packed]
                writer.append_data(even(np.concatenate(panels, axis=1)))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return length


def fitted(picture: np.ndarray, least: int, most: int) -> np.ndarray:
    """A picture of a width within these limits, by a whole factor: small ones (games) are shown
    in larger squares, large ones in means of squares."""
    factor, divisor = -(-least // picture.shape[1]), -(-picture.shape[1] // most)
    picture = picture[:, :, :3].repeat(factor, 0).repeat(factor, 1)
    if divisor == 1:
        return picture
    return np.asarray(library("PIL.Image").fromarray(picture).reduce(divisor))


def even(picture: np.ndarray) -> np.ndarray:
    """A picture of even height and width, which h264 asks for."""
    return np.pad(picture, [(0, n % 2) for n in picture.shape[:2]] + [(0, 0)])


def captioned(picture: np.ndarray, words: list[str]) -> np.ndarray:
    """A picture below a line of text, white on black."""
    image, draw = library("PIL.Image"), library("PIL.ImageDraw")
    strip = image.new("RGB", (picture.shape[1], CAPTION))
    font = library("PIL.ImageFont").load_default(15)
    draw.Draw(strip).text((6, 3), "   ".join(words), "white", font)
    return np.concatenate([np.asarray(strip), picture])


def heat_map(layer: np.ndarray, top: float, height: int) -> np.ndarray:
    """Weights (n_post, n_pre) from -top, blue, to top, vermillion, as a square picture with a
    margin at its left: (height, height + 4, 3) uint8."""
    image = library("PIL.Image")
    index = np.round((layer / top if top else layer) * 127).astype(int) + 127
    square = image.fromarray(RAMP[index]).resize((height, height), image.Resampling.BOX)
    return np.pad(np.asarray(square), [(0, 0), (4, 0), (0, 0)])
