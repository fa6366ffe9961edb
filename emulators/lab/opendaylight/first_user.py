"""The first user of OpenDaylight, made before it starts, so that admin/admin never exists.

OpenDaylight's AAA keeps its users in an H2 database (`data/idmlight.db.mv.db`). At its first start
it makes the user admin with the password admin, but only when the domain `sdn` is not there yet.
We make the domain, its two roles and our one user with H2's own script tool. A password is stored
as SHA-512, 20,000 rounds over salt and password (Apache Shiro's form), salt and hash in base64.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import subprocess
from pathlib import Path
from string import Template

from emulators.lab.errors import ProcessFailedError

_ROUNDS = 20_000
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_TIMEOUT_S = 60.0

_SCRIPT = Template("""
CREATE TABLE AAA_DOMAINS (domainid VARCHAR(128) PRIMARY KEY, name VARCHAR(128) UNIQUE NOT NULL,
  description VARCHAR(128), enabled BOOLEAN NOT NULL);
CREATE TABLE AAA_USERS (userid VARCHAR(128) PRIMARY KEY, name VARCHAR(128) NOT NULL,
  domainid VARCHAR(128) NOT NULL, email VARCHAR(128) NOT NULL, description VARCHAR(128) NOT NULL,
  password VARCHAR(128) NOT NULL, salt VARCHAR(128) NOT NULL, enabled BOOLEAN NOT NULL);
CREATE TABLE AAA_ROLES (roleid VARCHAR(128) PRIMARY KEY, name VARCHAR(128) NOT NULL,
  domainid VARCHAR(128) NOT NULL, description VARCHAR(128) NOT NULL);
CREATE TABLE AAA_GRANTS (grantid VARCHAR(128) PRIMARY KEY, domainid VARCHAR(128) NOT NULL,
  userid VARCHAR(128) NOT NULL, roleid VARCHAR(128) NOT NULL);
INSERT INTO AAA_DOMAINS VALUES ('sdn', 'sdn', 'the only domain', TRUE);
INSERT INTO AAA_ROLES VALUES ('admin@sdn', 'admin', 'sdn', 'may do everything'),
  ('user@sdn', 'user', 'sdn', 'may use RESTCONF');
INSERT INTO AAA_USERS VALUES ('$name@sdn', '$name', 'sdn', '', 'the only user', '$hash', '$salt',
  TRUE);
INSERT INTO AAA_GRANTS VALUES ('$name@sdn@admin@sdn@sdn', 'sdn', '$name@sdn', 'admin@sdn'),
  ('$name@sdn@user@sdn@sdn', 'sdn', '$name@sdn', 'user@sdn');
-- Of the database itself; set here so that it appears on no command line.
ALTER USER QNFV SET PASSWORD '$database_password';
""")


def check_name(name: str) -> str:
    """Raises ValueError when `name` is none that OpenDaylight and SQL take as it is."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no user name: small letters, digits, '.', '_' and '-'")
    return name


def shiro_hash(password: str, salt: bytes) -> str:
    """The form in which OpenDaylight keeps `password`, base64."""
    digest = hashlib.sha512(salt + password.encode()).digest()
    for _ in range(_ROUNDS - 1):
        digest = hashlib.sha512(digest).digest()
    return base64.b64encode(digest).decode()


def make_first_user(base: Path, h2_jar: Path, name: str, password: str) -> None:
    """Write the database below `base`, and the password of the database itself into its etc."""
    check_name(name)
    database_password = secrets.token_hex(24)
    script = base / "first-user.sql"
    script.touch(mode=0o600)
    script.write_text(_script(name, password, database_password))
    url = f"jdbc:h2:{base}/data/idmlight.db"
    command = ["java", "-Xmx64m", "-cp", str(h2_jar), "org.h2.tools.RunScript"]
    try:
        subprocess.run(
            [*command, "-url", url, "-user", "qnfv", "-script", str(script)],
            check=True,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ProcessFailedError(
            f"OpenDaylight's first user could not be made: {getattr(error, 'stderr', error)}",
            next_step="See whether `java` runs and the state folder can be written.",
        ) from error
    finally:
        script.unlink()
    settings = base / "etc" / "org.opendaylight.aaa.h2.cfg"
    settings.touch(mode=0o600)
    settings.write_text(f"username = qnfv\npassword = {database_password}\n")


def _script(name: str, password: str, database_password: str) -> str:
    salt = secrets.token_bytes(16)
    return _SCRIPT.substitute(
        name=name,
        hash=shiro_hash(password, salt),
        salt=base64.b64encode(salt).decode(),
        database_password=database_password,
    )
