"""WeChat Pay as seen from outside: entrusted deduction, its pages, bills and notifications.

Run as `python -m billing.gateways.wechat.simulator`. It keeps its own books in an append-only
journal (what really happened, whoever was told what), takes orders for faults under `/_control`,
and shares no code with the adapter, least of all signing. Never loaded in production, imports
nothing of Django.

Facts: the vendor's documents and its own guide for merchants (wechatpay-skills, folder
wechatpay-deduction-service). Where those contradict each other or say nothing, it is a setting
(`settings.py`), and the comment there says what was chosen.
"""
