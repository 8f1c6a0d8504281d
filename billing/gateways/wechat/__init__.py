"""WeChat Pay's entrusted deduction (委托代扣, "papay"): API v2, and v3 for announcing a charge.

The adapter is `adapter.WechatGateway`; `simulator/` is WeChat Pay as seen from outside, for the
demo and the tests. They share no code, so this file must not import the adapter: the simulator's
process would load it too.

No live account was used: docs/rails.md says what is not verified.
"""
