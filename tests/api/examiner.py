"""What schemathesis must be told to send our media types; it reads this by SCHEMATHESIS_HOOKS."""

import schemathesis

schemathesis.serializer.alias("application/x-ndjson", "text/plain")
