"""Instants as the admin writes them, in either language: one order, 24 hours, narrow columns.

The portal's pages write their own, in words.
"""

DATE_FORMAT = SHORT_DATE_FORMAT = "Y-m-d"
TIME_FORMAT = "H:i"
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = "Y-m-d H:i"
