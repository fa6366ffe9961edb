"""What the schedule records, in one hand."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.schedule.alarms import Alarms
from orchestrator.schedule.orders import OrderBook
from orchestrator.schedule.promises import PromiseBook
from orchestrator.schedule.timetable import Timetable


@dataclass(frozen=True)
class Books:
    timetable: Timetable
    orders: OrderBook
    promises: PromiseBook
    alarms: Alarms
