"""Bob's end of a link, reached through his slave stack."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from key_management.extraction import Held, KeyName
from nfv_stack.contract.client import SlaveClient
from nfv_stack.contract.schemas import (
    ConfirmRequest,
    DiscardRequest,
    ExtractRequest,
    KeyNameView,
)


class RemoteBobEnd:
    """A `key_management.extraction.PeerKeyStore` over the gateway's REST."""

    def __init__(self, slave: SlaveClient) -> None:
        self._slave = slave

    def extract(self, link: str, epoch: UUID, names: list[KeyName], sacrificed: UUID) -> Held:
        answer = self._slave.extract_keys(
            link,
            ExtractRequest(
                epoch=epoch,
                names=[
                    KeyNameView(key_id=name.key_id, vendor_key_id=name.vendor_key_id.hex())
                    for name in names
                ],
                sacrificed=sacrificed,
            ),
        )
        tag = bytes.fromhex(answer.tag) if answer.tag is not None else None
        return Held(frozenset(answer.key_ids), tag)

    def confirm(self, link: str, epoch: UUID, agreed: Collection[UUID]) -> None:
        self._slave.confirm_keys(link, ConfirmRequest(epoch=epoch, agreed=sorted(agreed)))

    def discard(self, link: str, epoch: UUID) -> None:
        self._slave.discard_keys(link, DiscardRequest(epoch=epoch))
