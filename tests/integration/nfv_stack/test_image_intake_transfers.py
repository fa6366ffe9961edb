"""Images arrive over real sockets, through broken connections, restarts and second thoughts."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from small_data_centre import (
    CHUNK_LOG2,
    LINK,
    NAME,
    WAIT_S,
    Centre,
    DataCentre,
    Image,
    Recording,
    Transfer,
    WatchedVim,
    container_image,
)
from sqlalchemy.exc import OperationalError

from image_transfer import Receipt, derive_attempt_keys, verify_receipt
from image_transfer.errors import (
    TransferError,
)
from key_management.errors import KeyManagementError, KeyStateError, UnknownKeyError
from key_management.states import KeyState
from nfv_stack.contract.schemas import (
    Cancellation,
    ImageFormat,
    KeySourceClass,
    Notice,
    TransferState,
)
from nfv_stack.errors import (
    AnnouncementConflictError,
    ImageFormatRefusedError,
    ImageVanishedError,
    QuotaExceededError,
    TransferStateError,
    UnknownLinkError,
    UnknownTransferError,
    VimRefusedError,
)


def nothing_is_left(transfer: Transfer, key: KeyState | None = KeyState.BURNED) -> None:
    remote = transfer.remote
    remote.intake.cancel(transfer.transfer_id)
    assert not remote.vim.has_image(transfer.image.vim_image_id)
    assert remote.vim.held_files() == []
    if key is not None:
        assert remote.key_state(transfer.key_id) is key


class TestOnItsWay:
    @pytest.fixture
    def stored_remote(self, tmp_path: Path, database_url: str) -> Iterator[DataCentre]:
        made = DataCentre(tmp_path / "stored", database_url=database_url)
        yield made
        made.close()

    def test_from_announcement_to_erased_key(self, tmp_path: Path, stored_remote) -> None:
        """On SQLite and MariaDB."""
        centre, remote = Centre(tmp_path, stored_remote), stored_remote
        transfer = centre.transfer(container_image())
        assert transfer.state() is TransferState.ANNOUNCED
        assert remote.key_state(transfer.key_id) is KeyState.RESERVED
        view = transfer.deliver()
        assert view.state is TransferState.PLACED
        assert view.placed_image_id == transfer.image.vim_image_id
        assert view.received_bytes == len(transfer.image.content)
        assert remote.vim.has_image(transfer.image.vim_image_id)
        assert remote.key_state(transfer.key_id) is KeyState.ARMED

        notice = Notice(image_digest=transfer.image.digest.hex(), key_id=transfer.key_id)
        answer = remote.intake.notify(transfer.transfer_id, notice)
        self._check(centre, transfer, bytes.fromhex(answer.receipt))
        for _ in range(2):
            acknowledged = remote.intake.acknowledge(transfer.transfer_id)
            assert acknowledged.state is TransferState.ACKNOWLEDGED
        assert remote.key_state(transfer.key_id) is KeyState.CONSUMED
        # A lost answer is asked for again, also after the key is gone.
        assert remote.intake.notify(transfer.transfer_id, notice) == answer

    @staticmethod
    def _check(centre: Centre, transfer: Transfer, encoded: bytes) -> None:
        receipt = Receipt.decode(encoded)
        header = centre.headers[transfer.transfer_id, receipt.attempt]
        keys = centre.keys.with_armed_key(
            LINK, transfer.key_id, transfer.message, lambda key: derive_attempt_keys(key, header)
        )
        verify_receipt(receipt, keys.receipt_key, header)
        assert receipt.placed_image_id == transfer.image.vim_image_id

    def test_requests_can_be_repeated(self, centre: Centre, remote: DataCentre) -> None:
        transfer = centre.transfer(container_image())
        assert transfer.announce() == transfer.announce()
        first, second = transfer.ticket(), transfer.ticket()
        assert (first.attempt, second.attempt) == (1, 2)
        transfer.send(second)
        assert remote.settled(transfer.transfer_id).state is TransferState.PLACED

    def test_a_broken_connection_goes_on_where_it_stood(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        with pytest.raises(TransferError):
            transfer.send(through=Recording(cut_after=150_000))
        ticket = transfer.ticket()
        assert 5 <= ticket.start_chunk <= 150_000 >> CHUNK_LOG2
        report = transfer.send(ticket)
        assert report.plain_bytes < len(transfer.image.content)
        assert remote.settled(transfer.transfer_id).state is TransferState.PLACED
        assert remote.vim.placements == 1

    def test_a_flipped_bit_costs_an_attempt_and_no_more(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        with contextlib.suppress(TransferError):  # it may have sent everything by then
            transfer.send(through=Recording(flip_at=100_000))
        ticket = transfer.ticket()
        assert ticket.start_chunk == 100_000 >> CHUNK_LOG2, "what came before stays good"
        transfer.send(ticket)
        assert remote.settled(transfer.transfer_id).state is TransferState.PLACED

    def test_a_receiver_that_died_begins_at_chunk_0(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        with pytest.raises(TransferError):
            transfer.send(through=Recording(cut_after=150_000))
        remote.stop()
        remote.start()
        assert transfer.state() is TransferState.RECEIVING, "a stop is no failure"
        ticket = transfer.ticket()
        assert (ticket.attempt, ticket.start_chunk) == (2, 0)
        transfer.send(ticket)
        assert remote.settled(transfer.transfer_id).state is TransferState.PLACED

    def test_stopping_under_a_stream_fails_nothing(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image(4_000_000))
        half = threading.Event()

        def hold(done: int) -> None:
            if done > 1_000_000 and not half.is_set():
                half.set()
                remote.stop()

        with pytest.raises(TransferError):
            transfer.send(progress=hold)
        assert half.is_set()
        remote.start()
        assert transfer.deliver().state is TransferState.PLACED
        assert remote.key_state(transfer.key_id) is KeyState.ARMED

    def test_a_stream_that_stands_still_is_given_up_and_begins_again(self, tmp_path) -> None:
        remote = DataCentre(tmp_path / "remote", stall_timeout_s=0.3)
        try:
            transfer = Centre(tmp_path, remote).transfer(container_image())
            with pytest.raises(TransferError):
                transfer.send(through=Recording(cut_after=150_000))
            placing = _thread("place-")
            if placing is not None:
                placing.join(WAIT_S)  # the VIM's request ends by itself
            assert remote.vim.held_files() == []
            ticket = transfer.ticket()
            assert (ticket.attempt, ticket.start_chunk) == (2, 0)
            transfer.send(ticket)
            assert remote.settled(transfer.transfer_id).state is TransferState.PLACED
            assert remote.vim.placements == 2
        finally:
            remote.close()

    def test_an_image_that_vanished_is_sent_again(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        remote.vim.refusal = ImageVanishedError("It was removed.", next_step="Again.")
        with pytest.raises(TransferError):
            transfer.send()
        assert transfer.state() is TransferState.RECEIVING
        remote.vim.refusal = None
        assert transfer.deliver().state is TransferState.PLACED

    def test_a_store_that_fails_after_the_vim_placed_it(self, centre, remote, monkeypatch) -> None:
        transfer = centre.transfer(container_image())
        change = remote.store.change
        failed = threading.Event()

        def fail_once(transfer_id, allowed, **values):
            if values.get("state") == TransferState.PLACED.value and not failed.is_set():
                failed.set()
                raise OperationalError("UPDATE", {}, Exception("gone away"))
            return change(transfer_id, allowed, **values)

        monkeypatch.setattr(remote.store, "change", fail_once)
        transfer.send()
        assert failed.wait(WAIT_S)
        remote.intake.close()  # waits until the connection has ended
        assert transfer.state() is TransferState.RECEIVING
        assert transfer.deliver().state is TransferState.PLACED

    def test_waiting_ends_as_soon_as_it_is_placed(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        remote.vim.gate.clear()
        transfer.send()
        assert remote.vim.at_the_gate.wait(WAIT_S)
        answers = []
        waiting = threading.Thread(
            target=lambda: answers.append((remote.settled(transfer.transfer_id), time.monotonic()))
        )
        waiting.start()
        assert transfer.state() is TransferState.RECEIVING
        opened_s = time.monotonic()
        remote.vim.gate.set()
        waiting.join(WAIT_S)
        view, answered_s = answers[0]
        assert view.state is TransferState.PLACED
        assert answered_s - opened_s < 5

    def test_a_ticket_while_the_vim_takes_its_time(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        remote.vim.gate.clear()
        transfer.send()
        assert remote.vim.at_the_gate.wait(WAIT_S)
        refusals = []

        def ask() -> None:
            try:
                transfer.ticket()
            except TransferStateError as error:
                refusals.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        remote.vim.gate.set()
        asking.join(WAIT_S)
        assert "PLACED" in refusals[0].detail
        assert transfer.state() is TransferState.PLACED


class TestCancelling:
    def test_before_the_first_byte_the_key_burns_too(self, centre: Centre) -> None:
        """The centre burns it as well, so here it would lie unused for ever."""
        transfer = centre.transfer(container_image())
        nothing_is_left(transfer)
        assert transfer.state() is TransferState.CANCELLED

    def test_in_the_middle_nothing_stays_and_the_key_burns(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        with pytest.raises(TransferError):
            transfer.send(through=Recording(cut_after=150_000))
        nothing_is_left(transfer)
        with pytest.raises(TransferStateError, match="CANCELLED"):
            transfer.remote.intake.ticket(transfer.transfer_id)

    def test_under_a_live_stream(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image(4_000_000))
        cancelled = []

        def cancel(done: int) -> None:
            if done > 1_000_000 and not cancelled:
                cancelled.append(remote.intake.cancel(transfer.transfer_id))

        with pytest.raises(TransferError):
            transfer.send(progress=cancel)
        assert cancelled[0].state is TransferState.CANCELLED
        nothing_is_left(transfer)

    def test_while_the_vim_gives_its_verdict(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        remote.vim.gate.clear()
        transfer.send()
        assert remote.vim.at_the_gate.wait(WAIT_S)
        cancelling = threading.Thread(target=remote.intake.cancel, args=(transfer.transfer_id,))
        cancelling.start()
        remote.vim.gate.set()
        cancelling.join(WAIT_S)
        assert transfer.state() is TransferState.CANCELLED
        nothing_is_left(transfer)

    def test_what_was_placed_is_removed(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        assert transfer.deliver().state is TransferState.PLACED
        nothing_is_left(transfer)
        with pytest.raises(TransferStateError, match="no receipt"):
            remote.intake.notify(
                transfer.transfer_id,
                Notice(image_digest=transfer.image.digest.hex(), key_id=transfer.key_id),
            )

    def test_repeating_it_finishes_what_the_vim_cut_off(self, centre, remote, monkeypatch) -> None:
        transfer = centre.transfer(container_image())
        transfer.deliver()

        def refuse(*_: object, **__: object) -> None:
            raise VimRefusedError("It is busy.", next_step="Again.")

        with monkeypatch.context() as patch:
            patch.setattr(remote.vim, "remove_image", refuse)
            with pytest.raises(VimRefusedError):
                remote.intake.cancel(transfer.transfer_id)
        nothing_is_left(transfer)

    def test_an_announcement_that_comes_late_reserves_nothing(self, centre, remote) -> None:
        transfer = centre.transfer(container_image(), announce=False)
        with pytest.raises(UnknownTransferError):
            remote.intake.cancel(transfer.transfer_id)
        assert transfer.announce().state is TransferState.CANCELLED
        assert remote.key_state(transfer.key_id) is KeyState.AVAILABLE
        assert remote.intake.cancel(transfer.transfer_id).state is TransferState.CANCELLED

    def test_the_keys_of_an_announcement_that_never_came(self, centre, remote) -> None:
        lost, other = (centre.transfer(container_image(), announce=False) for _ in range(2))
        other.announce()
        given_up = Cancellation(link=LINK, key_ids=[lost.key_id, other.key_id, uuid4()])
        with pytest.raises(UnknownTransferError):
            remote.intake.cancel(lost.transfer_id, given_up)
        assert remote.key_state(lost.key_id) is KeyState.BURNED
        assert remote.key_state(other.key_id) is KeyState.RESERVED, "it is promised to another"

    def test_the_keys_of_an_announcement_that_a_crash_cut_off(
        self, centre, remote, monkeypatch
    ) -> None:
        transfer = centre.transfer(container_image(), announce=False)

        def crash(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(remote.keys, "reserve_by_id", crash)
            with pytest.raises(KeyboardInterrupt):
                transfer.announce()
        assert remote.key_state(transfer.key_id) is KeyState.AVAILABLE
        given_up = Cancellation(link=LINK, key_ids=[transfer.key_id])
        remote.intake.cancel(transfer.transfer_id, given_up)
        assert remote.key_state(transfer.key_id) is KeyState.BURNED

    def test_repeating_it_burns_the_keys_that_a_crash_left(self, centre, remote) -> None:
        lost = centre.transfer(container_image(), announce=False)
        with pytest.raises(UnknownTransferError):
            remote.intake.cancel(lost.transfer_id)
        given_up = Cancellation(link=LINK, key_ids=[lost.key_id])
        assert remote.intake.cancel(lost.transfer_id, given_up).state is TransferState.CANCELLED
        assert remote.key_state(lost.key_id) is KeyState.BURNED

    def test_one_of_two_that_bring_the_same_image(self, centre: Centre, remote) -> None:
        image = container_image()
        first, second = centre.transfer(image), centre.transfer(image)
        threads = [threading.Thread(target=t.deliver) for t in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        assert {first.state(), second.state()} == {TransferState.PLACED}
        remote.intake.cancel(first.transfer_id)
        assert remote.vim.has_image(image.vim_image_id)
        nothing_is_left(second)

    def test_the_last_of_two_takes_the_image_with_it_though_it_never_placed_it(
        self, centre: Centre, remote
    ) -> None:
        image = container_image()
        first = centre.transfer(image)
        first.deliver()
        second = centre.transfer(image)
        remote.intake.cancel(first.transfer_id)
        assert remote.vim.has_image(image.vim_image_id), "the second one may still need it"
        nothing_is_left(second)


class TestRefusals:
    """Each before the VIM holds a usable image, and with nothing left over."""

    def test_another_image_under_the_same_transfer(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        other = transfer.announcement.model_copy(update={"image_size": 5})
        with pytest.raises(AnnouncementConflictError):
            remote.intake.announce(transfer.transfer_id, other)
        assert remote.key_state(transfer.key_id) is KeyState.RESERVED

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"link": "alice--bob-9"}, UnknownLinkError),
            ({"image_format": ImageFormat.QCOW2}, ImageFormatRefusedError),
            ({"image_size": 2**40}, QuotaExceededError),
            ({"suite": "aes-128-cbc"}, AnnouncementConflictError),
            ({"vim_image_id": "../../etc/passwd"}, AnnouncementConflictError),
            ({"vim_image_id": "debian:latest"}, AnnouncementConflictError),
            ({"key_source": KeySourceClass.QUANTUM}, AnnouncementConflictError),
        ],
    )
    def test_announcements(self, centre: Centre, remote, changes, error) -> None:
        transfer = centre.transfer(container_image(), announce=False, **changes)
        with pytest.raises(error) as refused:
            transfer.announce()
        assert refused.value.next_step
        assert remote.key_state(transfer.key_id) is KeyState.AVAILABLE

    def test_a_key_that_this_end_never_held(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image(), announce=False)
        with pytest.raises(UnknownKeyError):
            remote.intake.announce(
                transfer.transfer_id, transfer.announcement.model_copy(update={"key_id": uuid4()})
            )
        assert transfer.state() is TransferState.FAILED

    def test_a_consumed_key_is_a_tombstone(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        transfer.deliver()
        remote.intake.acknowledge(transfer.transfer_id)
        again = Transfer(centre, container_image(), transfer.key_id, {})
        with pytest.raises(KeyStateError, match="CONSUMED"):
            again.announce()
        assert again.state() is TransferState.FAILED
        assert not remote.vim.has_image(again.image.vim_image_id)
        assert remote.key_state(transfer.key_id) is KeyState.CONSUMED

    def test_a_key_of_another_transfer(self, centre: Centre, remote) -> None:
        first = centre.transfer(container_image())
        second = Transfer(centre, container_image(), first.key_id, {})
        with pytest.raises(KeyManagementError):
            second.announce()
        assert second.state() is TransferState.FAILED
        remote.intake.cancel(second.transfer_id)
        assert remote.key_state(first.key_id) is KeyState.RESERVED, "it is not the second one's"
        assert first.deliver().state is TransferState.PLACED

    def test_a_production_profile_refuses_emulated_keys(self, tmp_path) -> None:
        remote = DataCentre(tmp_path / "remote", accept_emulated_keys=False)
        try:
            centre = Centre(tmp_path, remote)
            transfer = centre.transfer(container_image(), announce=False)
            with pytest.raises(AnnouncementConflictError, match="no photon"):
                transfer.announce()
            # Nor does calling it quantum help: the key store knows what it is.
            lying = transfer.announcement.model_copy(update={"key_source": KeySourceClass.QUANTUM})
            with pytest.raises(AnnouncementConflictError, match="not from a source"):
                remote.intake.announce(transfer.transfer_id, lying)
            assert remote.key_state(transfer.key_id) is KeyState.AVAILABLE
            quantum = centre.transfer(
                container_image(),
                centre.shared_key(emulated=False),
                key_source=KeySourceClass.QUANTUM,
            )
            assert quantum.state() is TransferState.ANNOUNCED
        finally:
            remote.close()

    def test_a_wrong_key(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image(), centre.shared_key(bob_holds_another=True))
        with pytest.raises(TransferError):
            transfer.send()
        assert transfer.state() is TransferState.RECEIVING
        assert remote.vim.placements == 0
        nothing_is_left(transfer)

    def test_a_stream_for_another_destination(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        with pytest.raises(TransferError):
            transfer.send(destination="dc-9")
        assert remote.vim.placements == 0
        nothing_is_left(transfer)

    def test_a_replayed_attempt(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        recorded = Recording(cut_after=150_000)
        with pytest.raises(TransferError):
            transfer.send(through=recorded)
        transfer.ticket()
        before = remote.vim.pulled_bytes
        with Recording()(transfer.remote.intake.ticket(transfer.transfer_id)) as connection:
            connection.sendall(recorded.passed)
            assert connection.recv(1) == b"", "the receiver closes without a word"
        assert remote.vim.pulled_bytes == before
        assert transfer.deliver().state is TransferState.PLACED

    def test_a_stream_without_a_ticket(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        ticket = transfer.ticket()
        recorded = Recording()
        transfer.send(ticket, through=recorded)
        assert remote.settled(transfer.transfer_id).state is TransferState.PLACED
        with Recording()(ticket) as connection:
            connection.sendall(recorded.passed[:4096])
            assert connection.recv(1) == b""
        assert remote.vim.placements == 1

    @pytest.mark.parametrize("noise", [b"", b"GET / HTTP/1.1\r\n\r\n", bytes(5000), b"\xff" * 300])
    def test_noise(self, centre: Centre, remote, noise: bytes) -> None:
        transfer = centre.transfer(container_image())
        ticket = transfer.ticket()
        with Recording()(ticket) as connection:
            connection.sendall(noise)
            connection.shutdown(1)
            assert connection.recv(1) == b""
        transfer.send(ticket)
        assert remote.settled(transfer.transfer_id).state is TransferState.PLACED

    def test_a_source_that_changed_after_the_announcement(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        rotten = bytearray(transfer.image.content)
        rotten[100_000] ^= 1
        transfer.source.write_bytes(rotten)
        view = transfer.deliver()
        assert view.state is TransferState.FAILED
        assert "digest" in view.error
        assert "catalogue" in view.error
        nothing_is_left(transfer)

    def test_a_forged_receipt(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        transfer.deliver()
        answer = remote.intake.notify(
            transfer.transfer_id,
            Notice(image_digest=transfer.image.digest.hex(), key_id=transfer.key_id),
        )
        forged = bytearray.fromhex(answer.receipt)
        forged[-1] ^= 1
        with pytest.raises(TransferError):
            TestOnItsWay._check(centre, transfer, bytes(forged))
        # The sender keeps its key and may ask again.
        TestOnItsWay._check(centre, transfer, bytes.fromhex(answer.receipt))

    def test_a_notice_of_another_image(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        transfer.deliver()
        with pytest.raises(AnnouncementConflictError):
            remote.intake.notify(
                transfer.transfer_id, Notice(image_digest="00" * 32, key_id=transfer.key_id)
            )

    def test_what_the_vim_says_is_what_people_read(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        remote.vim.refusal = VimRefusedError("The roof is on fire.", next_step="Call somebody.")
        view = transfer.deliver()
        assert view.state is TransferState.FAILED
        assert "The roof is on fire. Call somebody." in view.error
        nothing_is_left(transfer)

    def test_a_full_disk(self, centre: Centre, remote, monkeypatch) -> None:
        """Writing to /dev/full fails as on a disk without space, from the kernel itself."""
        transfer = centre.transfer(container_image())
        monkeypatch.setattr("nfv_stack.vim.emulated.secrets.token_hex", lambda _: "full")
        (remote.folder / "vim" / "images" / "full.part").symlink_to("/dev/full")
        view = transfer.deliver()
        assert view.state is TransferState.FAILED
        assert "No space left on device" in view.error
        assert "Free space" in view.error
        nothing_is_left(transfer)

    def test_a_vim_that_ends_before_the_stream_keeps_nothing(self, tmp_path) -> None:
        class Hasty(WatchedVim):
            def place_image(self, spec, chunks):
                next(iter(chunks))
                self._image_file(spec.vim_image_id).write_bytes(b"unverified")
                return spec.vim_image_id

        hasty = Hasty(data_centre=NAME, folder=tmp_path / "vim")
        remote = DataCentre(tmp_path / "remote", vim=hasty)
        try:
            transfer = Centre(tmp_path, remote).transfer(container_image())
            view = transfer.deliver()
            assert view.state is TransferState.FAILED
            nothing_is_left(transfer)
        finally:
            remote.close()

    def test_all_attempts_used_up(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        for _ in range(64):
            transfer.ticket()
        with pytest.raises(TransferError, match="64"):
            transfer.ticket()
        assert transfer.state() is TransferState.FAILED
        nothing_is_left(transfer)


class TestWhoseImage:
    """On a VIM that others use too: what they keep there without a mark stays."""

    class SharedVim(WatchedVim):
        def remove_image(self, vim_image_id: str, *, found_here: bool = False) -> None:
            if not found_here:
                super().remove_image(vim_image_id)

        def appears(self, image: Image) -> None:
            """A crash came before it had its mark; or somebody else loaded it."""
            self._image_file(image.vim_image_id).write_bytes(image.content)

    @pytest.fixture
    def vim(self, tmp_path: Path) -> SharedVim:
        return self.SharedVim(data_centre=NAME, folder=tmp_path / "vim")

    @pytest.fixture
    def centre(self, tmp_path: Path, vim: SharedVim, database_url: str) -> Iterator[Centre]:
        remote = DataCentre(tmp_path / "remote", vim=vim, database_url=database_url)
        yield Centre(tmp_path, remote)
        remote.close()

    def test_a_crash_left_it_and_another_transfer_found_it(
        self, centre: Centre, vim: SharedVim
    ) -> None:
        image = container_image()
        first = centre.transfer(image)
        vim.appears(image)  # the VIM had it, and the stack was killed before it knew
        second = centre.transfer(image)
        assert second.deliver().state is TransferState.PLACED
        for transfer in (first, second):
            centre.remote.intake.cancel(transfer.transfer_id)
        assert not vim.has_image(image.vim_image_id)

    def test_what_somebody_else_keeps_there_stays(self, centre: Centre, vim: SharedVim) -> None:
        image = container_image()
        vim.appears(image)
        for transfer in [centre.transfer(image), centre.transfer(image)]:
            assert transfer.deliver().state is TransferState.PLACED
            centre.remote.intake.cancel(transfer.transfer_id)
        assert vim.has_image(image.vim_image_id)

    def test_what_somebody_else_brings_after_ours_went_stays(
        self, centre: Centre, vim: SharedVim
    ) -> None:
        image = container_image()
        ours = centre.transfer(image)
        ours.deliver()
        centre.remote.intake.cancel(ours.transfer_id)
        assert not vim.has_image(image.vim_image_id)
        vim.appears(image)
        again = centre.transfer(image)
        for transfer in (ours, again):  # a cancellation may be repeated
            centre.remote.intake.cancel(transfer.transfer_id)
        assert vim.has_image(image.vim_image_id)


class TestListener:
    def test_beyond_its_places_it_refuses_and_recovers(self, centre: Centre, remote) -> None:
        transfer = centre.transfer(container_image())
        ticket = transfer.ticket()
        held = [Recording() for _ in range(8)]
        contexts = [recording(ticket) for recording in held]
        sockets = [context.__enter__() for context in contexts]
        # The ninth is closed at once, the others wait for their header.
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline and len(remote.listener._open) < 8:
            threading.Event().wait(0.01)
        with Recording()(ticket) as ninth:
            assert ninth.recv(1) == b""
        for context, sock in zip(contexts, sockets, strict=True):
            sock.shutdown(1)
            context.__exit__(None, None, None)
        while time.monotonic() < deadline and remote.listener._open:
            threading.Event().wait(0.01)
        transfer.send(ticket)
        assert remote.settled(transfer.transfer_id).state is TransferState.PLACED


def _thread(prefix: str) -> threading.Thread | None:
    return next((t for t in threading.enumerate() if t.name.startswith(prefix)), None)
