"""Reads frames of OpenFlow 1.3 as messages (OPENFLOW13.md)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeVar

from sdn_client.openflow13 import constants as c
from sdn_client.openflow13 import messages as of
from sdn_client.openflow13.multipart import read_reply, read_request
from sdn_client.openflow13.structures import (
    Port,
    malformed,
    padding,
    read_instructions,
    read_match,
)
from sdn_client.openflow_framing import Frame


def decode(frame: Frame) -> of.Message:
    """Read a frame. MalformedMessage when its body does not fit its type."""
    if frame.type == of.Hello.TYPE:
        return _read_hello(frame)
    reader = _READERS.get(frame.type)
    if frame.version != c.VERSION or reader is None:
        return of.Unsupported(frame.xid, frame)
    return reader(frame)


_M = TypeVar("_M", bound=of.Message)


def _empty(cls: type[_M]) -> Callable[[Frame], _M]:
    def read(frame: Frame) -> _M:
        if frame.body:
            raise malformed(cls.__name__, f"{len(frame.body)} bytes of body instead of none")
        return cls(frame.xid)

    return read


def _head(what: str, layout: struct.Struct, body: bytes, *, whole: bool) -> tuple[int, ...]:
    if len(body) < layout.size or (whole and len(body) != layout.size):
        least = "" if whole else "at least "
        raise malformed(what, f"{len(body)} bytes of body, {least}{layout.size} are needed")
    return layout.unpack_from(body)


def _read_hello(frame: Frame) -> of.Hello:
    """Elements other than the bitmap, and bytes behind the last whole one, are ignored."""
    at, body = 0, frame.body
    while len(body) - at >= of.TYPE_LENGTH_LAYOUT.size:
        kind, length = of.TYPE_LENGTH_LAYOUT.unpack_from(body, at)
        if not of.TYPE_LENGTH_LAYOUT.size <= length <= len(body) - at:
            raise malformed("HELLO", f"an element of {length} bytes in {len(body) - at}")
        if kind == c.HELLO_VERSION_BITMAP:
            words = struct.iter_unpack("!I", body[at + 4 : at + length - length % 4])
            versions = {
                32 * n + bit
                for n, (word,) in enumerate(words)
                for bit in range(32)
                if word >> bit & 1
            }
            return of.Hello(frame.xid, frozenset(versions), frame.version)
        at += length + padding(length)
    return of.Hello(frame.xid, None, frame.version)


def _read_error(frame: Frame) -> of.ErrorMessage:
    kind, code = _head("ERROR", of.TYPE_LENGTH_LAYOUT, frame.body, whole=False)
    return of.ErrorMessage(frame.xid, kind, code, frame.body[of.TYPE_LENGTH_LAYOUT.size :])


def _read_features_reply(frame: Frame) -> of.FeaturesReply:
    return of.FeaturesReply(
        frame.xid, *_head("FEATURES_REPLY", of.FEATURES_LAYOUT, frame.body, whole=True)
    )


def _read_get_config_reply(frame: Frame) -> of.GetConfigReply:
    return of.GetConfigReply(
        frame.xid, *_head("GET_CONFIG_REPLY", of.CONFIG_LAYOUT, frame.body, whole=True)
    )


def _read_set_config(frame: Frame) -> of.SetConfig:
    return of.SetConfig(frame.xid, *_head("SET_CONFIG", of.CONFIG_LAYOUT, frame.body, whole=True))


def _read_flow_removed(frame: Frame) -> of.FlowRemoved:
    head = _head("FLOW_REMOVED", of.FLOW_REMOVED_LAYOUT, frame.body, whole=False)
    match, taken = read_match(frame.body[of.FLOW_REMOVED_LAYOUT.size :], "FLOW_REMOVED")
    if of.FLOW_REMOVED_LAYOUT.size + taken != len(frame.body):
        raise malformed("FLOW_REMOVED", "bytes behind its match")
    cookie, priority, *rest = head
    return of.FlowRemoved(frame.xid, match, priority, cookie, *rest)


def _read_port_status(frame: Frame) -> of.PortStatus:
    if len(frame.body) != of.PORT_STATUS_LAYOUT.size + Port.SIZE:
        raise malformed("PORT_STATUS", f"{len(frame.body)} bytes of body instead of 72")
    return of.PortStatus(
        frame.xid, frame.body[0], Port.decode(frame.body[of.PORT_STATUS_LAYOUT.size :])
    )


def _read_flow_mod(frame: Frame) -> of.FlowMod:
    head = _head("FLOW_MOD", of.FLOW_MOD_LAYOUT, frame.body, whole=False)
    match, taken = read_match(frame.body[of.FLOW_MOD_LAYOUT.size :], "FLOW_MOD")
    instructions = read_instructions(frame.body[of.FLOW_MOD_LAYOUT.size + taken :], "FLOW_MOD")
    cookie, mask, table_id, command, idle, hard, priority, buffer_id, port, group, flags = head
    return of.FlowMod(
        frame.xid,
        command,
        match,
        instructions,
        priority,
        cookie,
        mask,
        table_id,
        idle,
        hard,
        buffer_id,
        port,
        group,
        flags,
    )


def _read_multipart_request(frame: Frame) -> of.MultipartRequest:
    kind, flags = _head("MULTIPART_REQUEST", of.MULTIPART_LAYOUT, frame.body, whole=False)
    return of.MultipartRequest(
        frame.xid, read_request(kind, frame.body[of.MULTIPART_LAYOUT.size :]), flags
    )


def _read_multipart_reply(frame: Frame) -> of.MultipartReply:
    kind, flags = _head("MULTIPART_REPLY", of.MULTIPART_LAYOUT, frame.body, whole=False)
    return of.MultipartReply(
        frame.xid, read_reply(kind, frame.body[of.MULTIPART_LAYOUT.size :]), flags
    )


def _read_role_request(frame: Frame) -> of.RoleRequest:
    return of.RoleRequest(frame.xid, *_head("ROLE_REQUEST", of.ROLE_LAYOUT, frame.body, whole=True))


def _read_role_reply(frame: Frame) -> of.RoleReply:
    return of.RoleReply(frame.xid, *_head("ROLE_REPLY", of.ROLE_LAYOUT, frame.body, whole=True))


def _read_async(cls: type[of.GetAsyncReply]) -> Callable[[Frame], of.GetAsyncReply]:
    def read(frame: Frame) -> of.GetAsyncReply:
        masks = _head(cls.__name__, of.ASYNC_LAYOUT, frame.body, whole=True)
        return cls(frame.xid, (masks[0], masks[1]), (masks[2], masks[3]), (masks[4], masks[5]))

    return read


_READERS: dict[int, Callable[[Frame], of.Message]] = {
    of.ErrorMessage.TYPE: _read_error,
    of.EchoRequest.TYPE: lambda frame: of.EchoRequest(frame.xid, frame.body),
    of.EchoReply.TYPE: lambda frame: of.EchoReply(frame.xid, frame.body),
    of.FeaturesRequest.TYPE: _empty(of.FeaturesRequest),
    of.FeaturesReply.TYPE: _read_features_reply,
    of.GetConfigRequest.TYPE: _empty(of.GetConfigRequest),
    of.GetConfigReply.TYPE: _read_get_config_reply,
    of.SetConfig.TYPE: _read_set_config,
    of.FlowRemoved.TYPE: _read_flow_removed,
    of.PortStatus.TYPE: _read_port_status,
    of.FlowMod.TYPE: _read_flow_mod,
    of.MultipartRequest.TYPE: _read_multipart_request,
    of.MultipartReply.TYPE: _read_multipart_reply,
    of.BarrierRequest.TYPE: _empty(of.BarrierRequest),
    of.BarrierReply.TYPE: _empty(of.BarrierReply),
    of.RoleRequest.TYPE: _read_role_request,
    of.RoleReply.TYPE: _read_role_reply,
    of.GetAsyncRequest.TYPE: _empty(of.GetAsyncRequest),
    of.GetAsyncReply.TYPE: _read_async(of.GetAsyncReply),
    of.SetAsync.TYPE: _read_async(of.SetAsync),
}
