"""TMF654 Prepay Balance Management 4.0.0: a mobile operator's own BSS as a carrier."""

from lines.carriers.tmf654.adapter import HubRefused, Tmf654Carrier

__all__ = ["HubRefused", "Tmf654Carrier"]
