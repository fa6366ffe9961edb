"""A sender that holds the right key and still sends what no VIM must see."""

from __future__ import annotations

import io
import json
import secrets
import tarfile

import pytest
from small_data_centre import Centre, Image, container_image

from key_management.states import KeyState
from nfv_stack.contract import normal_archive
from nfv_stack.contract.schemas import TransferState


def entries(image: Image) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(image.content)) as archive:
        return [(info, archive.extractfile(info).read()) for info in archive]


def archive(parts: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as written:
        for info, data in parts:
            written.addfile(info, io.BytesIO(data))
    return target.getvalue()


def with_manifest(image: Image, **changes: object) -> bytes:
    parts = entries(image)
    (entry,) = json.loads(parts[0][1])
    data = json.dumps([{**entry, **changes}], separators=(",", ":")).encode()
    return archive([(normal_archive.member("manifest.json", len(data)), data), *parts[1:]])


def with_link(image: Image) -> bytes:
    link = tarfile.TarInfo(f"{'0' * 64}/layer.tar")
    link.type, link.linkname, link.mode = tarfile.SYMTYPE, "../../../../etc/shadow", 0o644
    return archive([*entries(image), (link, b"")])


def with_path(image: Image) -> bytes:
    return archive([*entries(image), (normal_archive.member("../../root/.ssh/id", 4), b"evil")])


def with_another_config(image: Image) -> bytes:
    parts = entries(image)
    config = parts[1][1].replace(b'"config":{}', b'"config":{"Cmd":["/evil"]}')
    return archive(
        [parts[0], (normal_archive.member(parts[1][0].name, len(config)), config), parts[2]]
    )


HOSTILE = {
    "a tag that names an image of the receiver": lambda i: with_manifest(
        i, RepoTags=["debian:latest"]
    ),
    "a layer by a path that leaves the archive": lambda i: with_manifest(
        i, Layers=["../../../etc/passwd"]
    ),
    "a link": with_link,
    "a member with a path": with_path,
    "another config under the same name": with_another_config,
    "a second image behind the first": lambda i: i.content + container_image().content,
    "cut in a member": lambda i: i.content[:-40_000],
    "nothing but zeros": lambda i: bytes(len(i.content)),
    "noise": lambda i: secrets.token_bytes(50_000),
    "empty": lambda i: b"",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_it_is_refused_before_the_vim_holds_it(centre: Centre, remote, kind: str) -> None:
    """Sealed under the right key, with the digest of what is really sent."""
    honest = container_image()
    image = Image(honest.vim_image_id, HOSTILE[kind](honest))
    transfer = centre.transfer(image)
    view = transfer.deliver()
    assert view.state is TransferState.FAILED
    assert "form of the catalogue" in view.error
    assert not remote.vim.has_image(image.vim_image_id)
    remote.intake.cancel(transfer.transfer_id)
    assert remote.vim.held_files() == []
    assert remote.key_state(transfer.key_id) is KeyState.BURNED


def test_a_hostile_first_member_never_reaches_the_vim(centre: Centre, remote) -> None:
    honest = container_image()
    image = Image(honest.vim_image_id, with_manifest(honest, RepoTags=["debian:latest"]))
    centre.transfer(image).deliver()
    assert remote.vim.pulled_bytes == 0


def test_an_altered_layer_with_a_digest_to_match(centre: Centre, remote) -> None:
    """Only the VIM itself can notice this one; it does."""
    honest = container_image()
    rotten = bytearray(honest.content)
    rotten[100_000] ^= 1
    transfer = centre.transfer(Image(honest.vim_image_id, bytes(rotten)))
    view = transfer.deliver()
    assert view.state is TransferState.FAILED
    assert "layers" in view.error
    assert remote.vim.held_files() == []
