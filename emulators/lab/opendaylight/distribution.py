"""Where the built OpenDaylight is."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from emulators.lab.errors import ControllerNotBuiltError

_BUILD = Path(__file__).parents[3] / "deploy" / "opendaylight" / "build.sh"
_BUILD_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Distribution:
    """What `deploy/opendaylight/build.sh` made: nothing in it is ever changed."""

    folder: Path

    @property
    def karaf(self) -> Path:
        return self.folder / "karaf"

    @property
    def first_boot(self) -> Path:
        """etc, configuration and cache of an instance that has booted once."""
        return self.folder / "instance"

    @property
    def h2_jar(self) -> Path:
        """The database of OpenDaylight's users."""
        return next(self.karaf.glob("system/com/h2database/h2/*/h2-*.jar"))


def build() -> Distribution:
    """The distribution of this source tree; built when the cache does not hold it (minutes).

    Raises ControllerNotBuiltError with the end of the build's own words.
    """
    try:
        done = subprocess.run(
            [str(_BUILD)], check=True, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or error)
        raise ControllerNotBuiltError(
            f"OpenDaylight could not be built: {said[-1500:].strip()}",
            next_step=f"Run {_BUILD} by hand; it needs Java 17, Maven and a Maven repository.",
        ) from error
    return Distribution(Path(done.stdout.strip().splitlines()[-1]))
