"""The three ways to WeChat Pay's signing page, of which a merchant is granted one or more (§2.2).

- official_account: a signed address, made offline, for browsers inside WeChat. MD5 only.
- h5: WeChat Pay is asked for an address, which opens the app from any phone's browser. It lives
  ten minutes and works once; asking again is asking for the same contract. Afterwards the payer is
  sent back to the page that led there, known by its Referer with path: the page that redirects
  must send one (Referrer-Policy no-referrer-when-downgrade).
- app: WeChat Pay's mini program shows the page, at the path that WeChat Pay names. From a browser
  it is opened by a link of scheme weixin:, which only a phone with WeChat can follow. [NV]
"""

import re
from urllib.parse import quote, urlencode

from billing.gateways.base import BindingRequest, SigningNotStarted, SigningPage
from billing.gateways.wechat import contracts
from billing.gateways.wechat.client import Reply, WechatClient
from billing.gateways.wechat.terms import SigningWay, Terms

_H5, _OFFICIAL_ACCOUNT, _APP = "/papay/h5entrustweb", "/papay/entrustweb", "/papay/preentrustweb"
_MINI_PROGRAM = "wxbd687630cd02ce1d"
_MINI_PROGRAM_PAGE = "pages/index/index"
# Nothing that a browser and a parser could read in two ways: no user, no backslash, no blank.
_WECHATS_ADDRESS = re.compile(r"https://([a-z0-9-]+\.)*qq\.com([/?#][!-\[\]-~]*)?")


def start(request: BindingRequest, *, terms: Terms, client: WechatClient) -> SigningPage:
    """The page to send the browser to.

    Raises SigningNotStarted where WeChat Pay gives none, ValueError for a bad reference.
    """
    params = contracts.signing_params(request, terms=terms, at=client.now())
    if terms.signing_way is SigningWay.OFFICIAL_ACCOUNT:
        # Back to whence the browser came: the page knows no other way.
        return SigningPage(client.page_url(_OFFICIAL_ACCOUNT, params | {"return_web": "1"}))
    if terms.signing_way is SigningWay.APP:
        return _mini_program(client.call(_APP, params, reference=request.binding_ref))
    payer = {"clientip": request.payer_ip or terms.server_ip}
    reply = client.ask_for_page(
        _H5, params | payer, reference=request.binding_ref, return_url=request.return_url
    )
    return _h5_page(reply, terms)


def _h5_page(reply: Reply, terms: Terms) -> SigningPage:
    url = reply.text("redirect_url")
    if not reply.is_success or not url:
        raise SigningNotStarted(f"WeChat Pay gave no signing page: {reply.explain()}.")
    if not _is_wechats(url, terms):
        raise SigningNotStarted("WeChat Pay's signing page is not at an address of WeChat Pay's.")
    return SigningPage(url)


def _is_wechats(url: str, terms: Terms) -> bool:
    """The answer may come unsigned, so a browser is sent only where it must lead anyway."""
    return url.startswith(f"{terms.api_urls[0]}/") or _WECHATS_ADDRESS.fullmatch(url) is not None


def _mini_program(reply: Reply) -> SigningPage:
    path, number = reply.text("miniprogram_path"), reply.text("pre_entrustweb_id")
    if not reply.is_success or not number:
        raise SigningNotStarted(f"WeChat Pay began no signing: {reply.explain()}.")
    page, _, query = (path or f"{_MINI_PROGRAM_PAGE}?pre_entrustweb_id={number}").partition("?")
    link = {"appid": _MINI_PROGRAM, "path": page, "query": query}
    return SigningPage(f"weixin://dl/business/?{urlencode(link, quote_via=quote)}")
