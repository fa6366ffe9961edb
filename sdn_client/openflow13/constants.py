"""The numbers of OpenFlow 1.3 that a fibre switch needs (OpenFlow Switch Specification 1.3.5)."""

from __future__ import annotations

from enum import IntEnum

VERSION = 0x04

# Ports (section A.2.1) and what stands for "no restriction".
PORT_MAX = 0xFFFFFF00
PORT_CONTROLLER = 0xFFFFFFFD
PORT_ANY = 0xFFFFFFFF
GROUP_ANY = 0xFFFFFFFF
TABLE_ALL = 0xFF
NO_BUFFER = 0xFFFFFFFF

CONFIG_PORT_DOWN = 1 << 0
STATE_LINK_DOWN, STATE_LIVE = 1 << 0, 1 << 2
FEATURE_OTHER, FEATURE_FIBRE = 1 << 10, 1 << 12

CAPABILITY_FLOW_STATS, CAPABILITY_TABLE_STATS, CAPABILITY_PORT_STATS = 1 << 0, 1 << 1, 1 << 2

HELLO_VERSION_BITMAP = 1

MATCH_OXM = 1
OXM_BASIC = 0x8000
OXM_IN_PORT = 0

INSTRUCTION_APPLY_ACTIONS = 4
ACTION_OUTPUT = 0

FLAG_SEND_FLOW_REMOVED = 1 << 0
FLAGS_KNOWN = 0x1F

REASON_PORT_ADD, REASON_PORT_DELETE, REASON_PORT_MODIFY = 0, 1, 2
REASON_FLOW_DELETE = 2

MULTIPART_MORE = 1
NO_COUNTER = 0xFFFFFFFFFFFFFFFF
"""What a counter reads that the switch does not have."""


class FlowCommand(IntEnum):
    ADD = 0
    MODIFY = 1
    MODIFY_STRICT = 2
    DELETE = 3
    DELETE_STRICT = 4


class ControllerRole(IntEnum):
    NO_CHANGE = 0
    EQUAL = 1
    MASTER = 2
    SLAVE = 3


class MultipartType(IntEnum):
    DESC = 0
    FLOW = 1
    AGGREGATE = 2
    TABLE = 3
    PORT_STATS = 4
    GROUP_FEATURES = 8
    METER_FEATURES = 11
    PORT_DESC = 13


class ErrorType(IntEnum):
    HELLO_FAILED = 0
    BAD_REQUEST = 1
    BAD_ACTION = 2
    BAD_INSTRUCTION = 3
    BAD_MATCH = 4
    FLOW_MOD_FAILED = 5
    GROUP_MOD_FAILED = 6
    PORT_MOD_FAILED = 7
    TABLE_MOD_FAILED = 8
    QUEUE_OP_FAILED = 9
    ROLE_REQUEST_FAILED = 11
    METER_MOD_FAILED = 12


class HelloFailed(IntEnum):
    INCOMPATIBLE = 0


class BadRequest(IntEnum):
    BAD_VERSION = 0
    BAD_TYPE = 1
    BAD_MULTIPART = 2
    BAD_EXPERIMENTER = 3
    PERMISSION = 5
    BAD_LENGTH = 6
    BUFFER_UNKNOWN = 8
    IS_SLAVE = 10
    BAD_PORT = 11


class BadAction(IntEnum):
    BAD_TYPE = 0
    BAD_OUT_PORT = 4
    BAD_ARGUMENT = 5
    TOO_MANY = 7


class BadInstruction(IntEnum):
    UNSUPPORTED = 1


class BadMatch(IntEnum):
    BAD_TYPE = 0
    BAD_WILDCARDS = 5
    BAD_FIELD = 6
    BAD_VALUE = 7
    BAD_MASK = 8
    DUPLICATE_FIELD = 10


class FlowModFailed(IntEnum):
    UNKNOWN = 0
    BAD_TABLE_ID = 2
    OVERLAP = 3
    PERMISSION = 4
    BAD_TIMEOUT = 5
    BAD_COMMAND = 6
    BAD_FLAGS = 7


class RoleRequestFailed(IntEnum):
    STALE = 0
    BAD_ROLE = 2
