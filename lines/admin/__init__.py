from lines.admin.carriers import CarrierAdmin
from lines.admin.deliveries import (
    BalanceReadingAdmin,
    CarrierCallAdmin,
    DeliveryAdmin,
    OperationAdmin,
)
from lines.admin.lines import LineAdmin

__all__ = [
    "BalanceReadingAdmin",
    "CarrierAdmin",
    "CarrierCallAdmin",
    "DeliveryAdmin",
    "LineAdmin",
    "OperationAdmin",
]
