"""Whether a deployment's keys are there, and when they are expected."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from orchestrator.errors import KeyWaitError
from orchestrator.keys.service import KeyService
from orchestrator.store.tables import ImageRow
from orchestrator.vnf_lcm.ciphers.port import KEY_BIT, Cipher
from orchestrator.vnf_lcm.promises import Promises


class KeyOutlook:
    """Thread-safe."""

    def __init__(self, keys: KeyService, ciphers: Mapping[str, Cipher], promises: Promises) -> None:
        self._keys = keys
        self._ciphers = ciphers
        self._promises = promises

    def is_there(self, link: str, key_bits: int) -> bool:
        """The pool could give them now."""
        return self._keys.level(link) * KEY_BIT >= key_bits

    def promise(
        self, operation_id: UUID, cipher: Cipher, image: ImageRow, link: str, wait_s: float
    ) -> None:
        """Who will wait for a pad is promised it within that time, or refused now."""
        bits = cipher.key_bits(image)
        waits = cipher.is_promised and self._keys.level(link) * KEY_BIT < bits
        if waits and link in self._promises.links:
            self._promises.promise(operation_id, link, bits, wait_s)

    def withdraw(self, operation_id: UUID) -> None:
        """The operation was not recorded after all."""
        self._promises.promise_withdrawn(operation_id)

    def expected_in_s(self, cipher: Cipher, link: str, key_bits: int) -> float | None:
        """Seconds until so many bits could be there; None if nobody can say."""
        if cipher.is_promised and link in self._promises.links:
            return self._promises.earliest_in_s(link, key_bits)
        return self._promises.keys_expected_in_s(link)

    def refuse_without_key(self, cipher: str, key_mode: str, link: str, key_bits: int) -> None:
        """Raises KeyWaitError, which tells when the next is expected."""
        level = self._keys.level(link)
        if key_mode == "on_demand":
            why = "on_demand asks Alice, who has to serve it first"
        elif level == 0:
            why = "the pool is empty"
        elif level * KEY_BIT < key_bits:
            why = f"the pool holds {level * KEY_BIT} of {key_bits} bits"
        else:
            return
        expected = self.expected_in_s(self._ciphers[cipher], link, key_bits)
        when = f"expected in about {expected:.0f} s" if expected is not None else "not foreseeable"
        raise KeyWaitError(
            f"There is no key of {link} now ({why}); the next is {when}.",
            next_step="Ask with a waiting time (--wait)"
            + ("." if key_mode == "on_demand" else ", or later."),
            keys_expected_in_s=expected,
            link=link,
        )
