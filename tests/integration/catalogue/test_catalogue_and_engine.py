"""What a real engine saves enters the catalogue, and what leaves it loads under the same id."""

from __future__ import annotations

import contextlib
import io
import secrets
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException, ImageNotFound

from nfv_stack.contract import normal_archive
from orchestrator.catalogue.docker_archive import normalise

MAX_BYTES = 50_000_000


@pytest.fixture
def engine(missing_part) -> Iterator[docker.DockerClient]:
    try:
        client = docker.from_env(timeout=60)
        client.ping()
    except DockerException as error:
        missing_part("docker", str(error))
        return
    yield client
    client.close()


@pytest.fixture
def loaded(engine) -> Iterator[str]:
    """An image that only this test knows, with the same layer twice."""
    layers = []
    for name in ("a", "b"):
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as archive:
            info = tarfile.TarInfo(name)
            info.size = 30_000
            archive.addfile(info, io.BytesIO(secrets.token_bytes(info.size)))
        layers.append(layer.getvalue())
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "history": [{"created_by": "test"}] * 3,
    }
    image_id, content = normal_archive.build(config, [layers[0], layers[1], layers[0]])
    (image,) = engine.images.load(content)
    assert image.id == image_id
    yield image_id
    with contextlib.suppress(ImageNotFound):
        engine.images.remove(image_id, force=True)


@pytest.mark.parametrize("tags", [0, 1, 2])
def test_a_saved_image_comes_back_under_its_id(engine, loaded, tmp_path: Path, tags: int) -> None:
    names = [f"qnfv-test/{secrets.token_hex(4)}:v{number}" for number in range(tags)]
    image = engine.images.get(loaded)
    for name in names:
        image.tag(name)
    source, target = tmp_path / "saved.raw", tmp_path / "saved.normal"
    stream = engine.api.get_image(names[0] if names else loaded)
    source.write_bytes(b"".join(stream))

    found = normalise(source, target, max_bytes=MAX_BYTES)
    assert found.image_id == loaded
    assert found.layers == 3
    assert set(found.tags) <= set(names)

    engine.images.remove(loaded, force=True)
    (again,) = engine.images.load(target.read_bytes())
    assert again.id == loaded
    assert again.tags == []
