"""Codec of OpenFlow 1.0 with the circuit-switch addendum, as `sdn_client/CFLOW_MOD.md` writes it.

Bytes in, messages out; no sockets and no time. `FrameReader` cuts a stream into frames, `decode`
reads a frame, `encode` writes a message. Whatever the bytes, the answer is a message or a
`MalformedMessage`.
"""

from sdn_client.cflow_mod.messages import (
    BarrierReply,
    BarrierRequest,
    CFlowMod,
    CircuitPort,
    Command,
    Components,
    CPortStatus,
    FeaturesReply,
    FlowEntry,
    FlowStatsReply,
    FlowStatsRequest,
    Hello,
    OtherStatsRequest,
    TdmPort,
    Unsupported,
    WavePort,
    decode,
    encode,
)
from sdn_client.openflow_framing import Frame, FrameReader
from sdn_client.openflow_messages import (
    EchoReply,
    EchoRequest,
    ErrorMessage,
    FeaturesRequest,
    Message,
)

__all__ = [
    "BarrierReply",
    "BarrierRequest",
    "CFlowMod",
    "CPortStatus",
    "CircuitPort",
    "Command",
    "Components",
    "EchoReply",
    "EchoRequest",
    "ErrorMessage",
    "FeaturesReply",
    "FeaturesRequest",
    "FlowEntry",
    "FlowStatsReply",
    "FlowStatsRequest",
    "Frame",
    "FrameReader",
    "Hello",
    "Message",
    "OtherStatsRequest",
    "TdmPort",
    "Unsupported",
    "WavePort",
    "decode",
    "encode",
]
