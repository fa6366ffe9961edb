"""Images at Glance: record first, stream verified, look again, compare."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import structlog
from openstack.exceptions import HttpException, raise_from_response
from openstack.image.v2.image import Image

from nfv_stack.errors import ImageRejectedError, VimError, VimRefusedError, VimUnreachableError
from nfv_stack.vim.openstack.cloud import Cloud, absent_is_none, said
from nfv_stack.vim.openstack.journal import Journal, JournaledImage
from nfv_stack.vim.openstack.verified_body import VerifiedBody
from nfv_stack.vim.port import ImageSpec

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 0.3
_ON_ITS_WAY = ("saving", "uploading", "importing")
_HASH = "sha512"
_CONFLICT = 409


@dataclass(frozen=True)
class UploadDeadlines:
    """Each phase has its own; a stream as a whole has none."""

    answer_s: float
    """From the last byte to Glance's answer."""
    active_s: float
    """From its answer until the image is active."""


class GlanceImages:
    """The images of one data centre."""

    def __init__(
        self, cloud: Cloud, journal: Journal, data_centre: str, deadlines: UploadDeadlines
    ) -> None:
        self._cloud = cloud
        self._journal = journal
        self._data_centre = data_centre
        self._deadlines = deadlines
        self._lock = threading.Lock()
        self._under_way: set[str] = set()

    def held(self, vim_image_id: str) -> JournaledImage | None:
        """Our image of this id, if Glance has it as it was verified."""
        for image in self._journal.images_of(vim_image_id):
            if image.sha512 is None:
                continue
            with self._cloud.speaking() as connection:
                found = absent_is_none(lambda i=image: connection.image.get_image(i.glance_id))  # type: ignore[misc]
            if found is None or found.status in ("deleted", "pending_delete"):
                self._journal.forget_image(image)
            elif _why_not_as_sent(found, image) is None:
                return image
        return None

    def place(self, spec: ImageSpec, chunks: Iterator[memoryview]) -> None:
        """Raises ImageRejectedError, or what the stream raises; then Glance keeps nothing."""
        self._remove_leftovers()
        body = VerifiedBody(spec, chunks)
        if self.held(spec.vim_image_id) is not None:
            # It is here; the stream is verified all the same.
            deque(body, maxlen=0)
            return
        image = JournaledImage(str(uuid4()), spec.vim_image_id, spec.size)
        with self._lock:
            self._under_way.add(image.glance_id)
        placed = False
        try:
            self._journal.record_image(image)
            self._create_record(image, spec)
            self._upload(image, body)
            self._journal.record_image(self._verified(image, body.sha512))
            placed = True
        finally:
            with self._lock:
                self._under_way.discard(image.glance_id)
            if not placed:
                self._try_to_remove(image)

    def remove(self, vim_image_id: str) -> None:
        """All that we have of it, also what was never finished."""
        for image in self._journal.images_of(vim_image_id):
            with self._lock:
                under_way = image.glance_id in self._under_way
            if not under_way:
                self._remove(image)

    # --- inside -----------------------------------------------------------------------------------

    def _create_record(self, image: JournaledImage, spec: ImageSpec) -> None:
        """Private and marked as ours; the id is our choice, so it is known before it exists."""
        attributes: dict[str, Any] = {
            "id": image.glance_id,
            "name": f"qnfv-{self._data_centre}-{spec.digest.hex()[:16]}",
            "visibility": "private",
            "disk_format": spec.format.value,
            "container_format": "bare",
            "tags": ["qnfv", f"qnfv-{self._data_centre}"],
            "qnfv_data_centre": self._data_centre,
            "qnfv_image": spec.vim_image_id,
        }
        with self._cloud.speaking() as connection:
            connection.image._create(Image, **attributes)

    def _upload(self, image: JournaledImage, body: VerifiedBody) -> None:
        try:
            with self._cloud.speaking() as connection:
                try:
                    # Nothing may send a stream a second time, so nobody may repeat by himself.
                    response = connection.image.put(
                        f"/images/{image.glance_id}/file",
                        data=body,
                        headers={"Content-Type": "application/octet-stream", "Accept": ""},
                        timeout=(self._cloud.timeout_s, self._deadlines.answer_s),
                        allow_reauth=False,
                        connect_retries=0,
                        status_code_retries=0,
                        redirect=False,
                        log=False,
                    )
                    raise_from_response(response)
                except HttpException as error:
                    if body.raised is None and 400 <= (error.status_code or 0) < 500:
                        raise ImageRejectedError(
                            f"Glance did not take the image ({error.status_code}): {said(error)}.",
                            next_step="Correct what it names: the disk, or the project's quota.",
                        ) from error
                    raise
        except VimError as error:
            if body.raised is not None:
                raise body.raised from error
            raise

    def _verified(self, image: JournaledImage, sha512: str) -> JournaledImage:
        """What Glance says about it now, compared with what was sent."""
        verified = replace(image, sha512=sha512)
        deadline_s = time.monotonic() + self._deadlines.active_s
        while True:
            with self._cloud.speaking() as connection:
                found = absent_is_none(lambda: connection.image.get_image(image.glance_id))
            if found is None:
                raise ImageRejectedError(
                    "Glance took the image, but has no record of it any more.",
                    next_step="See who removed it, and Glance's log; then repeat.",
                )
            if found.status not in _ON_ITS_WAY:
                break
            if time.monotonic() > deadline_s:
                raise VimUnreachableError(
                    f"Glance has had the whole image for {self._deadlines.active_s:g} s, "
                    f"and it is still {found.status}.",
                    next_step="See Glance's log and its store; then repeat.",
                )
            time.sleep(_LOOK_EVERY_S)
        if (why := _why_not_as_sent(found, verified)) is not None:
            raise ImageRejectedError(
                f"Glance said that it took the image, but {why}.",
                next_step="See Glance's log and its store; the image was removed there.",
            )
        return replace(verified, disk_bytes=int(found.virtual_size or found.size))

    def _remove_leftovers(self) -> None:
        """What a crash of this stack cut off while it streamed: it can never be finished."""
        for image in self._journal.images():
            with self._lock:
                under_way = image.glance_id in self._under_way
            if image.sha512 is None and not under_way:
                self._try_to_remove(image)

    def _try_to_remove(self, image: JournaledImage) -> None:
        try:
            self._remove(image)
        except VimError as error:
            # It stays in the journal, so it is removed another time; it cannot be used.
            log.warning("image record stays for now", image=image.glance_id, why=str(error))

    def _remove(self, image: JournaledImage) -> None:
        """Gone at Glance, then forgotten here."""
        with self._cloud.speaking() as connection:
            try:
                connection.image.delete_image(image.glance_id, ignore_missing=True)
            except HttpException as error:
                if error.status_code == _CONFLICT:
                    raise VimRefusedError(
                        f"Glance keeps the image {image.glance_id}: {said(error)}.",
                        next_step="Something still runs from it; remove that, then repeat.",
                    ) from error
                raise
        self._journal.forget_image(image)


def _why_not_as_sent(found: Any, sent: JournaledImage) -> str | None:
    """How Glance's record differs from what was verified, or None."""
    if found.status != "active":
        return f"its record says {found.status}"
    if found.size != sent.size:
        return f"its record says {found.size} bytes instead of {sent.size}"
    if found.hash_algo != _HASH:
        return f"its hash is {found.hash_algo or 'missing'}, and only {_HASH} is compared here"
    if found.hash_value != sent.sha512:
        return "its hash is not that of what was sent"
    return None
