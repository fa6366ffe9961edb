"""Where the installed OpenStack is."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from emulators.lab.errors import LabError
from emulators.lab.openstack.layout import Hypervisor

_BUILD = Path(__file__).parents[3] / "deploy" / "openstack" / "build.sh"
_BUILD_TIMEOUT_S = 1800.0


class CloudNotBuiltError(LabError):
    slug = "lab-cloud-not-built"
    title = "OpenStack could not be installed"


@dataclass(frozen=True)
class Distribution:
    """What `deploy/openstack/build.sh` made: nothing in it is ever changed."""

    folder: Path

    @property
    def venv(self) -> Path:
        return self.folder / "venv"

    def program(self, name: str) -> str:
        return str(self.venv / "bin" / name)

    @property
    def libvirt_binding(self) -> Path:
        """What to add to PYTHONPATH for Nova with libvirt."""
        return self.folder / "libvirt"


def build(hypervisor: Hypervisor = "fake") -> Distribution:
    """The distribution of this source tree; installed when the cache does not hold it (minutes).

    Raises CloudNotBuiltError with the end of the installer's own words.
    """
    command = [str(_BUILD), *(["vm"] if hypervisor == "qemu" else [])]
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or error)
        raise CloudNotBuiltError(
            f"OpenStack could not be installed: {said[-1500:].strip()}",
            next_step=f"Run {' '.join(command)} by hand; it needs PyPI and Debian's packages.",
        ) from error
    return Distribution(Path(done.stdout.strip().splitlines()[-1]))
