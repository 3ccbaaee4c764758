"""What a car does to the tiles of its road, as gymnasium's `FrictionDetector`, in one compiled call
after a step instead of several calls from within Box2D."""

import numpy as np

from environments.box2d_bodies import address, touch
from machine.compiled import compiled


@compiled
def meet(bodies, on_road, places, met, rows, colours, colour, visited, fresh):
    """Give the colour of the road to every tile that a body touches, and call visited what wheels
    touch; how many are so for the first time, and which, in fresh (n,).

    bodies (5,), four wheels and the hull, and places (n,), of the tiles, ascending: addresses;
    on_road (5,) bool: which bodies touch any, rewritten; met (5, n) bool: scratch; rows (n,): of
    the tiles in colours (polygons, 3) float64; visited (n,) bool.
    """
    touch(bodies, places, met)
    on_road[:], new = False, 0
    for k in range(places.size):
        for b in range(bodies.size):
            if met[b, k]:
                on_road[b] = True
                colours[rows[k]] = colour
                if b < 4 and not visited[k]:
                    visited[k], fresh[new] = True, k
                    new += 1
    return new


class Tiles:
    """The tiles of a road, bodies whose colours are the given rows of colours (polygons, 3)."""

    def __init__(self, tiles: list, rows: list, colours: np.ndarray, colour: np.ndarray):
        places = np.array([address(tile) for tile in tiles], np.intp)
        order = places.argsort()
        self.tiles, self.fresh = [tiles[k] for k in order], np.zeros(len(tiles), np.intp)
        met, visited = np.zeros((5, len(tiles)), bool), np.zeros(len(tiles), bool)
        painted = np.array(rows)[order], colours, colour
        self._state = places[order], met, *painted, visited, self.fresh

    def meet(self, car) -> int:
        """After a step of the world of the car: how many tiles are visited for the first time."""
        new = meet(car.bodies.places, car.on_road, *self._state)
        for k in self.fresh[:new].tolist() if new else ():
            self.tiles[k].road_visited = True
        return new
