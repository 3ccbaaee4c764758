"""How a walker's step reaches the engine: by pybullet's calls, or by the functions behind them.

pybullet makes a Python object of every number of every link, and of twenty more that nobody asked
for. `CCalls` does without: compiled code calls the C interface that pybullet's library exports
(PhysicsClientC_API.h), and all that a step asks and tells takes a few microseconds. It needs the
handle of pybullet's connection, which stands in a table of the library that has a symbol but is not
exported. Where that cannot be read, `PythonCalls` does the same, with the same bits.
"""

import ctypes
import functools
import mmap
from importlib import metadata

import numpy as np
from llvmlite import binding
from numba import types

from machine.compiled import compiled
from machine.quiet import quiet

with quiet():
    import pybullet

VERSION = "3.2.7"  # of pybullet, whose structures are laid out as below
ADDRESS, INT, DOUBLE = types.intp, types.int32, types.float64
CONTACT_SIZE, LINK_A = 176, 12  # bytes of a b3ContactPointData, and where its m_linkIndexA stands
calling = compiled(nogil=False)  # the engine is one, and so is its lock


def _c(name, result, *arguments):
    return types.ExternalFunction(name, result(*arguments))


_copy = _c("memcpy", ADDRESS, ADDRESS, ADDRESS, ADDRESS)
_submit = _c("b3SubmitClientCommandAndWaitStatus", ADDRESS, ADDRESS, ADDRESS)
_control = _c("b3JointControlCommandInit2", ADDRESS, ADDRESS, INT, INT)
_set_torque = _c("b3JointControlSetDesiredForceTorque", INT, ADDRESS, INT, DOUBLE)
_ask_state = _c("b3RequestActualStateCommandInit", ADDRESS, ADDRESS, INT)
_with_speeds = _c("b3RequestActualStateCommandComputeLinkVelocity", INT, ADDRESS, INT)
_state = _c("b3GetStatusActualState", INT, *[ADDRESS] * 8)
_links = _c("b3GetStatusActualState2", INT, *[ADDRESS] * 13)
_ask_contacts = _c("b3InitRequestContactPointInformation", ADDRESS, ADDRESS)
_of_a = _c("b3SetContactFilterBodyA", types.void, ADDRESS, INT)
_of_b = _c("b3SetContactFilterBodyB", types.void, ADDRESS, INT)
_contacts = _c("b3GetContactPointInformation", types.void, ADDRESS, ADDRESS)


@functools.cache
def connections() -> int | None:
    """The address of pybullet's table of connections, by the symbols of its library (ELF); None
    where it has none, cannot be read, or is of a version whose structures nobody has looked at."""
    if metadata.version("pybullet") != VERSION:
        return None
    section = np.dtype("u4, u4, u8, u8, u8, u8, u4, u4, u8, u8")  # type 1, offset 4, size 5, link 6
    symbol = np.dtype("u4, u1, u1, u2, u8, u8")  # name 0, value 4
    try:
        with open(pybullet.__file__, "rb") as file:
            image = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if image[:6] != b"\x7fELF\x02\x01":
            return None
        (start,), (count,) = np.frombuffer(image, "u8", 1, 40), np.frombuffer(image, "u2", 1, 60)
        sections = np.frombuffer(image, section, int(count), int(start))
        (table,) = sections[sections["f1"] == 2]
        strings = int(sections[table["f6"]]["f4"])
        symbols = np.frombuffer(image, symbol, int(table["f5"]) // 24, int(table["f4"]))
        values = {}
        for name in (b"sPhysicsClients1", b"b3InitStepSimulationCommand"):
            at = image.find(b"\0" + name + b"\0", strings) + 1 - strings
            (values[name],) = symbols[symbols["f0"] == at]["f4"].tolist()
        known = ctypes.CDLL(pybullet.__file__).b3InitStepSimulationCommand
    except (OSError, ValueError, AttributeError):
        return None
    table, function = values.values()
    binding.load_library_permanently(pybullet.__file__)  # for the functions of the C interface
    return ctypes.cast(known, ctypes.c_void_p).value + table - function


@calling
def _push(slot, body, indices, torques):
    """Set the joints' torques; False without a connection."""
    handle = slot[0]
    if handle == 0:
        return False
    command = _control(handle, body, pybullet.TORQUE_CONTROL)
    for j in range(torques.size):
        _set_torque(command, indices[j], torques[j])
    _submit(handle, command)
    return True


@calling
def _look(slot, body, parts, torso, indices, places, pose, joints):
    """The arrays of `PythonCalls.look`; False if the engine does not answer."""
    handle = slot[0]
    if handle == 0:
        return False
    command = _ask_state(handle, body)
    _with_speeds(command, torso >= 0)
    status = _submit(handle, command)
    found = np.zeros(4, np.intp)
    at = found.ctypes.data
    if not _state(status, 0, 0, 0, 0, at, at + 8, 0):
        return False
    _links(status, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, at + 16, at + 24)
    q, u, links, speeds = found
    xyz = places.ctypes.data
    for i in range(parts.size):
        _copy(xyz + 24 * i, q if parts[i] < 0 else links + 56 * parts[i], 24)
    _copy(pose.ctypes.data, q if torso < 0 else links + 56 * torso, 56)
    _copy(pose.ctypes.data + 56, u if torso < 0 else speeds + 48 * torso, 24)
    for j in range(len(joints)):
        _copy(joints.ctypes.data + 16 * j, q + 8 * indices[j, 0], 8)
        _copy(joints.ctypes.data + 16 * j + 8, u + 8 * indices[j, 1], 8)
    return True


@calling
def _touch(slot, body, floor, feet, contacts):
    handle = slot[0]
    if handle == 0:
        return False
    command = _ask_contacts(handle)
    _of_a(command, body)
    _of_b(command, floor)
    _submit(handle, command)
    found, link = np.zeros(2, np.intp), np.zeros(1, np.int32)
    _contacts(handle, found.ctypes.data)
    contacts[:] = 0
    for k in range(found[0] & 0xFFFFFFFF):
        _copy(link.ctypes.data, found[1] + CONTACT_SIZE * k + LINK_A, 4)
        for foot in range(feet.size):
            if feet[foot] == link[0]:
                contacts[foot] = 1
    return True


class PythonCalls:
    """A robot's step by pybullet's calls.

    engine: its connection; body: number of the robot; parts: links, -1 for the base; torso: one
    of them; driven: the joints with motors.
    """

    def __init__(self, engine, body: int, parts: list, torso: int, driven: list):
        self.engine, self.body, self.driven, self.torso = engine, body, driven, torso
        self.parts = np.array(parts)
        self.links = np.flatnonzero(self.parts >= 0)

    def push(self, torques: np.ndarray) -> None:
        """Set the torques (n,) of the joints for the next step."""
        self.engine.setJointMotorControlArray(
            self.body, self.driven, pybullet.TORQUE_CONTROL, forces=torques.tolist()
        )

    def look(self, places: np.ndarray, pose: np.ndarray, joints: np.ndarray) -> None:
        """Fill places (parts or more, 3); pose (10,): position, orientation (quaternion) and speed
        of the torso; joints (n, 2): angle and speed of each. All float64."""
        engine, body, torso = self.engine, self.body, self.torso
        links = self.parts[self.links].tolist()
        states = engine.getLinkStates(body, links, computeLinkVelocity=torso >= 0)
        position, orientation = engine.getBasePositionAndOrientation(body)
        places[: self.parts.size] = position
        places[self.links] = [state[0] for state in states]
        if torso >= 0:
            state = states[links.index(torso)]
            pose[:] = *state[0], *state[1], *state[6]
        else:
            pose[:] = *position, *orientation, *engine.getBaseVelocity(body)[0]
        joints[:] = [state[:2] for state in engine.getJointStates(body, self.driven)]

    def touch(self, floor: int, feet: np.ndarray, contacts: np.ndarray) -> None:
        """Set contacts (feet,) to 1 for the links that touch the floor, else 0."""
        links = {contact[3] for contact in self.engine.getContactPoints(self.body, floor)}
        contacts[:] = [foot in links for foot in feet.tolist()]


class CCalls(PythonCalls):
    """The same by the C interface: a fifth of the time."""

    def __init__(self, engine, body: int, parts: list, torso: int, driven: list):
        super().__init__(engine, body, parts, torso, driven)
        info = [engine.getJointInfo(body, joint) for joint in driven]
        self.indices = np.array([joint[3:5] for joint in info])  # of positions and of speeds
        slot = ctypes.c_ssize_t.from_address(connections() + 8 * engine._client)
        self.slot = np.frombuffer(slot, np.intp)

    def _must(self, answered: bool) -> None:
        if not answered:
            raise pybullet.error("Not connected to physics server.")

    def push(self, torques):
        self._must(_push(self.slot, self.body, self.indices[:, 1], torques))

    def look(self, places, pose, joints):
        self._must(
            _look(self.slot, self.body, self.parts, self.torso, self.indices, places, pose, joints)
        )

    def touch(self, floor, feet, contacts):
        self._must(_touch(self.slot, self.body, floor, feet, contacts))


def calls(*robot) -> PythonCalls:
    """The fastest way to a robot here; the arguments are those of `PythonCalls`."""
    return (CCalls if connections() else PythonCalls)(*robot)
