"""One signature is one text: the same bytes written otherwise are not taken for it."""

from string import ascii_letters, digits

from billing.gateways.alipay.signing import is_signed, load_private_key, load_public_key, sign
from tests.rails.simulators import session_keys

ALPHABET = ascii_letters[26:] + ascii_letters[:26] + digits + "+/"


def test_an_alipay_signature_with_its_unused_bits_changed_is_refused():
    """256 bytes leave four bits of the last letter unused, which a lenient reader drops."""
    keys, _ = session_keys()
    signature = sign(load_private_key(keys.private, setting="KEY"), "amount=50.00")
    public = load_public_key(keys.public, setting="KEY")
    letter = signature[-3]
    otherwise = ALPHABET[ALPHABET.index(letter) ^ 1]
    assert signature.endswith("==")
    assert is_signed(public, "amount=50.00", signature)
    assert not is_signed(public, "amount=50.00", f"{signature[:-3]}{otherwise}==")
