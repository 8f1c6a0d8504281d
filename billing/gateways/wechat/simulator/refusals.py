"""How v2 says no: a code and the vendor's wording where it is known."""

_WORDS = {
    "APPID_MCHID_NOT_MATCH": "appid和mch_id不匹配",
    "CERT_ERROR": "证书校验错误",
    "CONTRACTERROR": "协议已过期",
    "CONTRACT_NOT_EXIST": "签约协议不存在，用户已解约",
    "FREQUENCY_LIMITED": "频率限制",
    "INVALID_REQUEST": "无效请求",
    "LACK_PARAMS": "缺少参数",
    "NOTENOUGH": "余额不足",
    "ORDERCLOSED": "订单已关闭",
    "ORDERNOTEXIST": "订单不存在",
    "ORDERPAID": "订单已支付",
    "ORDER_ACCEPTED": "扣款请求已受理，请勿重复发起",
    "PARAM_ERROR": "参数错误",
    "REFUNDNOTEXIST": "退款不存在",
    "REFUND_FEE_MISMATCH": "订单金额或退款金额与之前请求不一致，请核实后再试",
    "RULELIMIT": "用户账户支付已达上限",
    "SYSTEMERROR": "系统异常，请使用相同参数重新调用",
    "TRADE_OVERDUE": "订单已经超过退款期限",
    "USER_ACCOUNT_ABNORMAL": "用户账户异常",
}


class Refusal(Exception):
    """Answered instead of success; nothing was done."""

    def __init__(self, code: str, words: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.words = words or words_of(code)


class NotSpoken(Exception):
    """Not a message of ours: answered by return_code FAIL, unsigned, for we know nobody there."""


def words_of(code: str) -> str:
    return _WORDS.get(code, code)
