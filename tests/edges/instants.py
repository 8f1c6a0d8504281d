"""The edges: where days, months, quarters, years and clocks turn. All in UTC.

The people of the tests live in Shanghai, eight hours ahead. "Ends": two minutes before, so that the
run goes across. "Began": half an hour after, when "three hours ago" lies in the time before.
"""

EDGES = {
    "month-ends-in-shanghai": "2027-04-30T15:58:00+00:00",
    "month-began-in-shanghai": "2027-04-30T16:30:00+00:00",  # and is last month's in UTC
    "month-ends": "2027-05-31T23:58:00+00:00",
    "month-began": "2027-06-01T00:30:00+00:00",
    "quarter-ends-in-shanghai": "2027-03-31T15:58:00+00:00",
    "quarter-began-in-shanghai": "2027-06-30T16:30:00+00:00",
    "year-ends-in-shanghai": "2027-12-31T15:58:00+00:00",
    "year-began-in-shanghai": "2027-12-31T16:30:00+00:00",
    "year-ends": "2027-12-31T23:58:00+00:00",
    "year-began": "2028-01-01T00:30:00+00:00",
    "before-a-short-month": "2028-01-31T04:00:00+00:00",
    "leap-day-began-in-shanghai": "2028-02-28T16:30:00+00:00",
    "leap-day": "2028-02-29T04:00:00+00:00",
    "new-york-goes-forward": "2027-03-14T06:58:00+00:00",
    "new-york-goes-back": "2027-11-07T05:58:00+00:00",
    "berlin-goes-forward": "2027-03-28T00:58:00+00:00",
    "berlin-goes-back": "2027-10-31T00:58:00+00:00",
}
