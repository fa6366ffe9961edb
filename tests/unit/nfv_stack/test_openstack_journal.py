"""The journal of ids: whole entries or none, from many threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from nfv_stack.errors import VimRefusedError
from nfv_stack.vim.openstack.journal import Journal, JournaledImage


def image(number: int, vim_image_id: str = "blake3:00") -> JournaledImage:
    return JournaledImage(f"glance-{number}", vim_image_id, 1)


def test_it_outlives_its_process(tmp_path: Path) -> None:
    journal, instance_id = Journal(tmp_path), uuid4()
    journal.record_image(image(1))
    journal.record_image(image(2, "blake3:01"))
    journal.record_server(instance_id, "server")
    later = Journal(tmp_path)
    assert later.images_of("blake3:00") == [image(1)]
    assert later.server_of(instance_id) == "server"
    later.forget_image(image(1))
    later.forget_server(instance_id)
    for _ in range(2):
        later.forget_server(instance_id)
        later.forget_image(image(1))
    assert Journal(tmp_path).images() == [image(2, "blake3:01")]
    assert Journal(tmp_path).server_of(instance_id) is None


def test_what_a_crash_cut_off_while_writing_is_no_entry(tmp_path: Path) -> None:
    Journal(tmp_path)
    (tmp_path / "images" / "glance-1.0000.part").write_text('{"glance_id": "gl')
    assert Journal(tmp_path).images() == []
    assert list((tmp_path / "images").iterdir()) == []


def test_many_threads_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)

    def busy(number: int) -> None:
        for _ in range(20):
            journal.record_image(image(number))
            journal.images()
            journal.forget_image(image(number))

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(busy, number) for number in range(6)]:
            done.result(60)
    assert journal.images() == []


def test_a_disk_that_is_full_is_told(tmp_path: Path, monkeypatch) -> None:
    journal = Journal(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nfv_stack.vim.openstack.journal.os.fsync", full)
    with pytest.raises(VimRefusedError, match="No space left"):
        journal.record_image(image(1))
    assert journal.images() == []
    assert list((tmp_path / "images").iterdir()) == []
