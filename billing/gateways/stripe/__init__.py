"""Bank cards through Stripe: bound on Stripe's own page, charged off-session.

`adapter.StripeGateway` is what the registry builds. Every module here says `import stripe` and
means the vendor's SDK: imports are absolute, so this package's name cannot stand in its way. The
simulator in `simulator` shares no code with it.
"""
