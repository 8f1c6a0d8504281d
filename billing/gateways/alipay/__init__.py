"""Alipay's entrusted deduction: 商家扣款 (GENERAL_WITHHOLDING) and 周期扣款 (CYCLE_PAY_AUTH).

The adapter is `adapter.AlipayGateway`; `simulator/` is Alipay as seen from outside, for the demo,
the tests and the benchmarks. They share no code, so this file must not import the adapter: the
simulator's process would load it too.

No live account was used: docs/rails.md says what is not verified.
"""
