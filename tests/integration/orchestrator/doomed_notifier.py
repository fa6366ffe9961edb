"""An orchestrator's part that is killed: it records an operation, and may begin to deliver.

python doomed_notifier.py DATABASE_URL FOLDER SUBSCRIPTION_ID record|deliver
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from uuid import UUID

from notification_parts import Parts

database_url, folder, subscription_id, what = sys.argv[1:]
parts = Parts(database_url, Path(folder))
if what == "record":
    parts.operation()
    os.kill(os.getpid(), signal.SIGKILL)
parts.courier.deliver(UUID(subscription_id))
