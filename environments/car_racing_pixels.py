"""The 96x96 state of CarRacing-v0, drawn as gym 0.21 drew it, without OpenGL.

gym set up a 1000x800 window, shrank its viewport to 96x96 and painted polygons in order, each
pixel taking the colour of the last polygon that covers its centre: no smoothing anywhere. A
compiled scanline rasteriser that follows that rule reproduces the recorded frames.
"""

import functools

import numpy as np
from gymnasium.envs.box2d import car_dynamics as body
from gymnasium.envs.box2d.car_racing import (
    GRASS_DIM,
    PLAYFIELD,
    STATE_H,
    STATE_W,
    TRACK_WIDTH,
    WINDOW_H,
    WINDOW_W,
)

from environments.box2d_bodies import ANGLE, SPEED, SPIN, X, Y
from environments.car_racing_wheels import turned
from machine.compiled import compiled

X_SCALE, Y_SCALE = STATE_W / WINDOW_W, STATE_H / WINDOW_H  # state pixels per window pixel
CELL_W, CELL_H = STATE_W / 40, STATE_H / 40  # the dashboard counts in fortieths
REACH = 4 * TRACK_WIDTH  # world units; no tile is as long, even where the loop closes
GLYPH_ROW = 88  # the first of the five rows that the score covers

# The score is a pyglet label, "%04i" in 36 pt at x = 20 on the window. Shrunk tenfold, a digit
# is a handful of samples of its glyph, and which ones depends on where it stands. These are all
# of them: DejaVu Sans at 48 pixels, sampled bilinearly at the state's pixel centres for each x
# at which a digit can start, digits 0 to 9, five rows of three columns. The minus sign falls
# between two rows of samples: it shows only in that it moves the digits.
GLYPH_STARTS = (20, 51, 82, 113, 37, 68, 99)  # window pixels: four places, three after a minus
GLYPH_COLUMNS = (2, 5, 8, 11, 4, 7, 10)  # the first column of each in the state
GLYPHS = np.frombuffer(
    bytes.fromhex(
        """
        02ff00ff0083ff00beff000700a000deff0000ff0000ff0000ff00000000ffff0000000000fd00190000000000
        ffff00000000001900000042027f0000fc00000000fe0000000000000000e9ff00e90000000000000000027500
        00ff00ff0000ff0076ff00a700a200ffff2700000000fe0000a30000000088ff00ff0007de0700ff00a4009e00
        7eff00ff0062b6bca60000001a580003ff00ff004eff0092ff0004009a00f0ff0000ff0000ff0000ff00000000
        ffff0000000000ff00240000000000ffff00000000001f0000000003770000ff00000000ff0000000000000000
        f5ff00f50000000000000000036c0000ff00ff0000ff0047ff006c009f00ffff0000030000ff00007e00000000
        b8ff00ff0004ef0b00ff0068009b00b0ff00ff003bdac36a000000234c000cff00ff001aff0067ff0001009500
        ffff0000ff0000ff0000ff00000000ffff0000000000ff00360000000000ffff00000000002500000000066e00
        00ff00000000ff0000000000000000ffff00ff000000000000000006630000ff00ff0000ff0018ff0032009c00
        ffff0000060000ff00005600000000e2ff00ff0001fd0f00ff002c009800dcff00fd0014f8ca2f0000002b3f00
        3aff00ff0000fd0047ff0000008f00ffff0000ff0000ff0000ff00000000ffff0000000000ff00660000000000
        ffff00000000002a000000000f660000ff00000000ff0000000000000000ffff00ff00000000000000000f5900
        00ff00ff0000ff0000ff0012009800ffff0000090000ff00002e00000000eaff00ff0000fd1300ff000c009500
        e5ff00f10000fad00f000000333100ffff00000000000000420100040800ff0000000000000000000000000000
        ffff00005600009d00ff0000000000ffff0000440000f2000000007c020000ff007cff0005ff0000ff00000000
        ffff0052000000a4000018007e0000fbff00030000a702004e0000002b00ffff0000ff00003100000000000000
        ffff002f0800dbc2000000001e3000ffff00000000ffff00008c00890000ffff00000000000000280a00060000
        ff0000000000000000000000000000ffff00007200008000ff0000000000ffff00005d0000ff00000500830000
        00ff00a8ff0003ff0000ff00000000ffff0032000000c700002700850000fcff000200007807002e0000001f00
        ffff0000ff00000800000000000000ffff001c1200c4dc000000002b2500ffff00000500fffd0000b4008d0000
        ffff000001000000000d4100080000ff0000000000000000000000000000ffff00009700006400ff0000000000
        ffff0000870000ff000023008a000000ff00d4ff0001ff0000ff00000000ffff0010000000d500005e008b0000
        feff000100004a2100100000001700ffff0000ff00000600000000000000ffff00093d00aee500000000381b00
        ffff00002000ffef0000c800900000
        """
    ),
    np.uint8,
).reshape(len(GLYPH_STARTS), 10, 5, 3)


@functools.lru_cache(maxsize=2048)
def score_pixels(score):
    """A score in -999..9999 as 5 rows of 14 grey pixels, uint8, the first row at GLYPH_ROW."""
    pixels = np.zeros((5, 14), np.uint8)
    text = f"{score:04d}"
    start = 4 if text[0] == "-" else 0
    for place, digit in enumerate(text.lstrip("-"), start):
        column = GLYPH_COLUMNS[place]
        pixels[:, column : column + 3] |= GLYPHS[place, int(digit)]
    return pixels


def _padded(polygons):
    """Polygons of up to eight corners as one (n, 8, 2) array, the last corner repeated."""
    return np.array([(list(p) + [p[-1]] * 8)[:8] for p in polygons], np.float64) * body.SIZE


WHEEL_X, WHEEL_Y = body.WHEEL_W * body.SIZE, body.WHEEL_R * body.SIZE
HULL = _padded([body.HULL_POLY1, body.HULL_POLY2, body.HULL_POLY3, body.HULL_POLY4])


@compiled
def _centre_after(edge, size):
    """The first row or column whose centre lies beyond an edge; at least 0, at most `size`."""
    if not edge >= 0.5:
        return 0
    return size if edge >= size - 0.5 else int(edge - 0.5) + 1


@compiled
def _fill(canvas, x, y, n, colour, spans):
    """Paint the convex polygon x[:n], y[:n] (state pixels, y down) over the centres it covers.

    canvas: (96, 96) uint32, 0xRRGGBB as the colour. spans: (96, 2), a buffer of int64.
    """
    first, last = STATE_H, 0
    j = n - 1
    for i in range(n):
        top, bottom = (i, j) if y[i] < y[j] else (j, i)
        start, stop = _centre_after(y[top], STATE_H), _centre_after(y[bottom], STATE_H)
        if start < stop:
            first, last = min(first, start), max(last, stop)
            slope = (x[bottom] - x[top]) / (y[bottom] - y[top])
            for row in range(start, stop):  # convex: the outline crosses each row just twice
                spans[row, 0] = spans[row, 1]
                spans[row, 1] = _centre_after(x[top] + (row + 0.5 - y[top]) * slope, STATE_W)
        j = i
    for row in range(first, last):
        left, right = min(spans[row, 0], spans[row, 1]), max(spans[row, 0], spans[row, 1])
        canvas[row, left:right] = colour


@compiled
def _paint(canvas, pen, view, corners, n, colour):
    """Paint a polygon of world units as the view (a, b, c, d, x0, y0) maps it to the state.

    pen: the buffers (x, y, spans). OpenGL snaps corners to 1/256 of a pixel.
    """
    x, y, spans = pen
    for i in range(n):
        column = view[0] * corners[i, 0] + view[1] * corners[i, 1] + view[4]
        row = view[2] * corners[i, 0] + view[3] * corners[i, 1] + view[5]
        x[i], y[i] = np.floor(column * 256 + 0.5) / 256, np.floor(row * 256 + 0.5) / 256
    _fill(canvas, x, y, n, colour, spans)


@compiled
def _near(view, x, y, reach):
    """Whether a circle of `reach` pixels around a point of the world touches the state."""
    column = view[0] * x + view[1] * y + view[4]
    row = view[2] * x + view[3] * y + view[5]
    return -reach < column < STATE_W + reach and -reach < row < STATE_H + reach


@compiled
def _box(corners, x0, y0, x1, y1):
    """Make the first four corners those of a rectangle."""
    corners[0, 0] = corners[3, 0] = x0
    corners[1, 0] = corners[2, 0] = x1
    corners[0, 1] = corners[1, 1] = y0
    corners[2, 1] = corners[3, 1] = y1


@compiled
def _ground(canvas, pen, view, scale, corners):
    """The playfield, and every second square of it in both directions in a lighter green."""
    _box(corners, -PLAYFIELD, -PLAYFIELD, PLAYFIELD, PLAYFIELD)
    _paint(canvas, pen, view, corners, 4, 0x66CC66)
    for i in range(-20, 20, 2):
        for j in range(-20, 20, 2):
            left, low = GRASS_DIM * i, GRASS_DIM * j
            if _near(view, left, low, 1.5 * GRASS_DIM * scale):
                _box(corners, left, low, left + GRASS_DIM, low + GRASS_DIM)
                _paint(canvas, pen, view, corners, 4, 0x66E666)


@compiled
def _road(canvas, pen, view, scale, polygons, colours):
    """Tiles and kerbs in the order in which the track was built."""
    for i in range(len(polygons)):
        if _near(view, polygons[i, 0, 0], polygons[i, 0, 1], REACH * scale):
            red, green, blue = colours[i, 0], colours[i, 1], colours[i, 2]
            colour = int(red + 0.5) << 16 | int(green + 0.5) << 8 | int(blue + 0.5)
            _paint(canvas, pen, view, polygons[i], 4, colour)


@compiled
def _view(camera, x, y):
    """From above: a point of the world in the middle of the state, at three quarters, or shifted
    from there."""
    zoom, angle, right, down = camera
    a, b = zoom * np.cos(angle), zoom * np.sin(angle)
    return (
        a * X_SCALE,
        -b * X_SCALE,
        -b * Y_SCALE,
        -a * Y_SCALE,
        STATE_W / 2 + right - (a * x - b * y) * X_SCALE,
        STATE_H * 3 / 4 + down + (b * x + a * y) * Y_SCALE,
    )


@compiled
def _attached(view, px, py, angle):
    """The view of a body's own coordinates: turn by its angle, move to its place, then view."""
    c, s = np.cos(angle), np.sin(angle)
    return (
        view[0] * c + view[1] * s,
        view[1] * c - view[0] * s,
        view[2] * c + view[3] * s,
        view[3] * c - view[2] * s,
        view[0] * px + view[1] * py + view[4],
        view[2] * px + view[3] * py + view[5],
    )


@compiled
def _car(canvas, pen, view, motion, phases, corners):
    """The wheels, each with the stripe that shows how far it has rolled, and the hull on top."""
    for w in range(4):
        own = _attached(view, motion[w, X], motion[w, Y], motion[w, ANGLE])
        _box(corners, -WHEEL_X, -WHEEL_Y, WHEEL_X, WHEEL_Y)
        _paint(canvas, pen, own, corners, 4, 0x000000)
        # the stripe spans 1.2 rad of the tyre; the part with a positive sine is underneath
        s1, s2 = np.sin(phases[w]), np.sin(phases[w] + 1.2)
        c1, c2 = np.cos(phases[w]), np.cos(phases[w] + 1.2)
        if s1 <= 0 or s2 <= 0:
            c1 = np.sign(c1) if s1 > 0 else c1
            c2 = np.sign(c2) if s2 > 0 else c2
            _box(corners, -WHEEL_X, WHEEL_Y * c1, WHEEL_X, WHEEL_Y * c2)
            _paint(canvas, pen, own, corners, 4, 0x4C4C4C)
    own = _attached(view, motion[4, X], motion[4, Y], motion[4, ANGLE])
    for i in range(len(HULL)):
        _paint(canvas, pen, own, HULL[i], 8, 0xCC0000)


@compiled
def _dashboard(canvas, pen, motion, omegas, score, corners):
    """Speed, four wheel speeds, steering and gyroscope as bars on black, and the score."""
    upright = (CELL_W, 0.0, 0.0, -CELL_H, 0.0, float(STATE_H))  # cells from the lower left
    _box(corners, 0.0, 0.0, 40.0, 5.0)
    _paint(canvas, pen, upright, corners, 4, 0x000000)
    for i in range(5):
        place = (5, 7, 8, 9, 10)[i]
        colour = (0xFFFFFF, 0x0000FF, 0x0000FF, 0x3300FF, 0x3300FF)[i]
        length = 0.02 * motion[4, SPEED] if i == 0 else 0.01 * omegas[i - 1]
        _box(corners, place, 1.0, place + 1.0, 1.0 + length)
        _paint(canvas, pen, upright, corners, 4, colour)
    _box(corners, 20.0, 2.0, 20.0 - 10.0 * turned(motion, 0), 4.0)
    _paint(canvas, pen, upright, corners, 4, 0x00FF00)
    _box(corners, 30.0, 2.0, 30.0 - 0.8 * motion[4, SPIN], 4.0)
    _paint(canvas, pen, upright, corners, 4, 0xFF0000)
    for row in range(score.shape[0]):
        for column in range(score.shape[1]):
            below = canvas[GLYPH_ROW + row, column]  # black, or white of the speed's bar
            canvas[GLYPH_ROW + row, column] = max(below, np.uint32(0x010101 * score[row, column]))


@compiled
def draw(image, road, camera, motion, phases, omegas, score):
    """Draw one state into `image`, a (96, 96, 3) uint8 array.

    road: (n, 4, 2) float32 corners in world units, painted in order, and (n, 3) grey levels;
    camera: window pixels per world unit, angle in rad, and how far all but the dashboard is
    shifted right and down in pixels of the state; motion: `bodies.look` of the four wheels and the
    hull; phases, omegas: (4,) rolled angles of the wheels, rad, and their angular speeds;
    score: the array of `score_pixels`.
    """
    view, scale = _view(camera, motion[4, X], motion[4, Y]), camera[0] * Y_SCALE
    canvas = np.zeros((STATE_H, STATE_W), np.uint32)
    pen = np.empty(8), np.empty(8), np.empty((STATE_H, 2), np.int64)
    corners = np.empty((4, 2))
    _ground(canvas, pen, view, scale, corners)
    _road(canvas, pen, view, scale, *road)
    _car(canvas, pen, view, motion, phases, corners)
    _dashboard(canvas, pen, motion, omegas, score, corners)
    bytes_, pixels = image.reshape(-1), canvas.reshape(-1)
    for i in range(len(pixels)):
        bytes_[3 * i] = pixels[i] >> 16
        bytes_[3 * i + 1] = pixels[i] >> 8
        bytes_[3 * i + 2] = pixels[i]
