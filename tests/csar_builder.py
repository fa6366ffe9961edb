"""VNF packages made in memory, in the form of ETSI GS NFV-SOL 004, with any fault wanted."""

from __future__ import annotations

import hashlib
import io
import secrets
import struct
import zipfile
from dataclasses import dataclass, field
from uuid import uuid4

META = "TOSCA-Metadata/TOSCA.meta"
ENTRY = "Definitions/vnfd.yaml"
TYPES = "Definitions/types.yaml"
IMAGE = "Files/images/router.img"
README = "Files/readme.txt"
MANIFEST = "router.mf"


def disk(size: int = 4096) -> bytes:
    """A raw disk with one partition, unlike every other one."""
    partition = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, bytes(3), 1, size // 512 - 1)
    head = bytes(446) + partition.ljust(64, b"\0") + b"\x55\xaa"
    return head + secrets.token_bytes(size - len(head))


def other_image(number: int) -> str:
    return f"Files/images/vdu{number}.img"


@dataclass
class Csar:
    """Change `files` before `packed`; the manifest is of what they were when it is made."""

    image: bytes = field(default_factory=disk)
    vnfd_id: str = field(default_factory=lambda: str(uuid4()))
    flavour: str = "simple"
    others: tuple[bytes, ...] = ()
    """The images of VDU2 and so on."""
    scales: bool = False
    """The aspect `workers` adds one VDU1 a step, up to two more; levels `small` and `large`."""
    both_scale: bool = False
    """The aspects `workers` and `stores` add one VDU1 and one VDU2 a step, up to two more; levels
    `broad` and `deep` have three of the one and one of the other."""
    files: dict[str, bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.files = {
            META: (
                "TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nCreated-By: tests\n"
                f"Entry-Definitions: {ENTRY}\nETSI-Entry-Manifest: {MANIFEST}\n"
            ).encode(),
            ENTRY: self.vnfd().encode(),
            TYPES: _TYPES.encode(),
            IMAGE: self.image,
            README: b"how to use it\n",
            **{other_image(number): image for number, image in enumerate(self.others, start=2)},
        }

    def vnfd(self) -> str:
        vdus = "".join(
            _VDU.format(
                number=number,
                image=IMAGE if number == 1 else other_image(number),
                digest=hashlib.sha256(image).hexdigest(),
                most=3 if number in self._scaled() else 1,
            )
            for number, image in enumerate((self.image, *self.others), start=1)
        )
        made = _VNFD.format(vnfd_id=self.vnfd_id, flavour=self.flavour, vdus=vdus)
        return made + (_BOTH_SCALE if self.both_scale else _SCALING if self.scales else "")

    def _scaled(self) -> tuple[int, ...]:
        return (1, 2) if self.both_scale else (1,) if self.scales else ()

    def with_manifest(self, algorithm: str = "SHA-256") -> Csar:
        blocks = [
            f"Source: {name}\nAlgorithm: {algorithm}\n"
            f"Hash: {hashlib.new(algorithm.replace('-', ''), content).hexdigest()}\n"
            for name, content in self.files.items()
        ]
        head = (
            "metadata:\n  vnf_product_name: Router\n  vnf_provider_id: Acme\n"
            "  vnf_package_version: 1.0\n  vnf_release_date_time: 2026-01-01T00:00:00Z\n\n"
        )
        self.files[MANIFEST] = (head + "\n".join(blocks)).encode()
        return self

    def packed(self) -> bytes:
        if MANIFEST not in self.files:
            self.with_manifest()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.files.items():
                archive.writestr(name, content)
        return buffer.getvalue()


_TYPES = """\
tosca_definitions_version: tosca_simple_yaml_1_2
imports:
  - etsi_nfv_sol001_vnfd_types.yaml
node_types:
  acme.VNF.Router:
    derived_from: tosca.nodes.nfv.VNF
    properties:
      provider:
        type: string
        default: Acme
      descriptor_version:
        type: string
        default: '1.0'
"""
_VNFD = """\
tosca_definitions_version: tosca_simple_yaml_1_2
imports:
  - etsi_nfv_sol001_vnfd_types.yaml
  - types.yaml
topology_template:
  node_templates:
    router:
      type: acme.VNF.Router
      properties:
        descriptor_id: {vnfd_id}
        product_name: Router
        software_version: '2.1'
        flavour_id: {flavour}
        flavour_description: one size
        vnfm_info: [qnfv]
{vdus}
"""
_VDU = """\
    VDU{number}:
      type: tosca.nodes.nfv.Vdu.Compute
      properties:
        name: router
        description: forwards
        vdu_profile:
          min_number_of_instances: 1
          max_number_of_instances: {most}
        sw_image_data:
          name: router-disk
          version: '2.1'
          checksum:
            algorithm: sha-256
            hash: {digest}
          container_format: bare
          disk_format: raw
          min_disk: 1 GB
          size: 1 GB
      capabilities:
        virtual_compute:
          properties:
            virtual_memory:
              virtual_mem_size: 512 MiB
            virtual_cpu:
              num_virtual_cpu: 2
      artifacts:
        sw_image:
          type: tosca.artifacts.nfv.SwImage
          file: ../{image}
"""
_SCALING = """\
  policies:
    - aspects:
        type: tosca.policies.nfv.ScalingAspects
        properties:
          aspects:
            workers:
              name: workers
              description: how many forward
              max_scale_level: 2
              step_deltas: [one_more]
    - initial:
        type: tosca.policies.nfv.VduInitialDelta
        properties:
          initial_delta:
            number_of_instances: 1
        targets: [VDU1]
    - steps:
        type: tosca.policies.nfv.VduScalingAspectDeltas
        properties:
          aspect: workers
          deltas:
            one_more:
              number_of_instances: 1
        targets: [VDU1]
    - levels:
        type: tosca.policies.nfv.InstantiationLevels
        properties:
          levels:
            small:
              description: one
              scale_info:
                workers:
                  scale_level: 0
            large:
              description: three
              scale_info:
                workers:
                  scale_level: 2
          default_level: small
    - levels_of_vdu1:
        type: tosca.policies.nfv.VduInstantiationLevels
        properties:
          levels:
            small:
              number_of_instances: 1
            large:
              number_of_instances: 3
        targets: [VDU1]
"""


def _aspect(name: str, vdu: str) -> str:
    return f"""\
    - initial_of_{vdu}:
        type: tosca.policies.nfv.VduInitialDelta
        properties:
          initial_delta:
            number_of_instances: 1
        targets: [{vdu}]
    - steps_of_{vdu}:
        type: tosca.policies.nfv.VduScalingAspectDeltas
        properties:
          aspect: {name}
          deltas:
            one_more:
              number_of_instances: 1
        targets: [{vdu}]
    - levels_of_{vdu}:
        type: tosca.policies.nfv.VduInstantiationLevels
        properties:
          levels:
            broad:
              number_of_instances: {3 if vdu == "VDU1" else 1}
            deep:
              number_of_instances: {1 if vdu == "VDU1" else 3}
        targets: [{vdu}]
"""


_BOTH_SCALE = (
    """\
  policies:
    - aspects:
        type: tosca.policies.nfv.ScalingAspects
        properties:
          aspects:
            workers: {name: workers, max_scale_level: 2, step_deltas: [one_more]}
            stores: {name: stores, max_scale_level: 2, step_deltas: [one_more]}
    - levels:
        type: tosca.policies.nfv.InstantiationLevels
        properties:
          levels:
            broad:
              description: many workers
              scale_info: {workers: {scale_level: 2}, stores: {scale_level: 0}}
            deep:
              description: many stores
              scale_info: {workers: {scale_level: 0}, stores: {scale_level: 2}}
          default_level: broad
"""
    + _aspect("workers", "VDU1")
    + _aspect("stores", "VDU2")
)
