"""IDQ3P: keys from an ID Quantique Clavis2 (id3100), and the agent beside each QKD unit.

`codec`, `client` and `server` know no web framework; `PROTOCOL.md` is what they obey.
"""

from idq3p.client import Idq3pClient, IssuedKey
from idq3p.codec import PORT, ByteOrder
from idq3p.key_bytes import KeyBytes

__all__ = ["PORT", "ByteOrder", "Idq3pClient", "IssuedKey", "KeyBytes"]
