"""How the gateway says no: a code, a sub_code, and the vendor's wording where it is known."""

_WORDS = {
    "ACQ.AGREEMENT_NOT_EXIST": "用户协议不存在",
    "ACQ.AGREEMENT_INVALID": "用户协议已失效",
    "ACQ.AGREEMENT_ERROR": "协议信息异常",
    "ACQ.BUYER_BALANCE_NOT_ENOUGH": "买家余额不足",
    "ACQ.BUYER_ENABLE_STATUS_FORBID": "买家状态非法",
    "ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR": "买家付款日限额超限",
    "ACQ.CONTEXT_INCONSISTENT": "交易信息被篡改",
    "ACQ.CYCLE_PAY_DATE_NOT_MATCH": "扣款日期不在签约时的允许范围之内",
    "ACQ.CYCLE_PAY_SINGLE_FEE_EXCEED": "周期扣款的单笔金额超过签约时限制",
    "ACQ.CYCLE_PAY_TOTAL_FEE_EXCEED": "周期扣款的累计金额超过签约时限制",
    "ACQ.CYCLE_PAY_TOTAL_TIMES_EXCEED": "周期扣款的总次数超过签约时限制",
    "ACQ.INVALID_PARAMETER": "参数无效",
    "ACQ.SYSTEM_ERROR": "接口返回错误",
    "ACQ.TRADE_HAS_CLOSE": "交易已经关闭",
    "ACQ.TRADE_HAS_SUCCESS": "交易已被支付",
    "ACQ.TRADE_NOT_EXIST": "交易不存在",
    "isv.invalid-app-id": "无效的AppID参数",
    "isv.invalid-signature": "无效签名",
    "isv.invalid-method": "不存在的方法名",
    "isp.unknow-error": "系统繁忙",
}
_MESSAGES = {
    "10003": "order success pay inprocess",
    "20000": "Service Currently Unavailable",
    "20001": "Insufficient Token Permissions",
    "40001": "Missing Required Arguments",
    "40002": "Invalid Arguments",
    "40004": "Business Failed",
    "40006": "Insufficient Permissions",
}

Fields = dict[str, object]


class Refusal(Exception):
    """Answered instead of success; nothing was done."""

    def __init__(self, sub_code: str, code: str = "40004") -> None:
        super().__init__(sub_code)
        self.sub_code, self.code = sub_code, code

    def fields(self) -> Fields:
        fields: Fields = {"code": self.code, "msg": _MESSAGES.get(self.code, "Business Failed")}
        if self.sub_code:
            fields["sub_code"] = self.sub_code
            fields["sub_msg"] = _WORDS.get(self.sub_code, self.sub_code)
        return fields


def done(**fields: object) -> Fields:
    """A success's fields."""
    return {"code": "10000", "msg": "Success", **fields}
