from lines.models.carriers import Carrier
from lines.models.deliveries import CarrierCall, Delivery, DeliveryState
from lines.models.lines import LIVE_STATUSES, EsimProfile, Line, LineKind, LineProof, LineStatus
from lines.models.operations import Operation
from lines.models.readings import BalanceReading

__all__ = [
    "LIVE_STATUSES",
    "BalanceReading",
    "Carrier",
    "CarrierCall",
    "Delivery",
    "DeliveryState",
    "EsimProfile",
    "Line",
    "LineKind",
    "LineProof",
    "LineStatus",
    "Operation",
]
