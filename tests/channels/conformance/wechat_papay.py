"""WeChat Pay's side of 委托代扣 (papay), from the pages on it: signed by MD5, with few fields."""

from urllib.parse import parse_qsl, urlsplit

from qiao.channels.conformance import Account, NotApplicable, Situation, Status, Verb
from tests.channels.conformance.wechat_v2_wire import Fields

CONTRACT = "201601150000000001"
PLAN = "12535"
SIGNING = "/papay/entrustweb"
QUESTIONS = ("/papay/querycontract", "/pay/paporderquery")
CHARGE_REFUSALS = {Status.REFUSED: "NOTENOUGH", Status.UNRECOGNISED: "LEVITATING"}
CONTRACT_STATES: dict[Status, Fields] = {
    Status.PENDING: {"contract_state": "9"},
    Status.SUCCEEDED: {"contract_state": "0", "contract_termination_mode": "0"},
    Status.CLOSED: {
        "contract_state": "1",
        "contract_termination_mode": "2",
        "contract_terminated_time": "2026-01-15 12:00:00",
    },
    Status.UNRECOGNISED: {"contract_state": "7"},
}


def asked_in(url: str) -> Fields:
    """What the page of signing is opened with; NotApplicable for another page."""
    parts = urlsplit(url)
    if parts.path != SIGNING:
        raise NotApplicable("the action holds no order")
    return dict(parse_qsl(parts.query, strict_parsing=True))


def agreed(path: str, told: Situation) -> Fields:
    """What is told of an agreement, or of a charge by one."""
    if path == "/pay/pappayapply":
        return _charged(told)
    if told.status is Status.NOT_FOUND:
        return _failure("CONTRACT_NOT_EXIST")
    contract = {
        "result_code": "SUCCESS",
        "contract_id": CONTRACT,
        "plan_id": PLAN,
        "request_serial": "1695",
        "contract_code": told.reference,
        "contract_display_account": "member 17",
    }
    if path == "/papay/deletecontract":
        unknown = told.status is Status.UNRECOGNISED
        return _failure("LEVITATING") if unknown else contract
    if told.status not in CONTRACT_STATES:
        raise NotApplicable("an agreement that was refused is none")
    signed = {
        "contract_signed_time": "2026-01-15 12:00:00",
        "contract_expired_time": "2036-01-15 12:00:00",
        "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    }
    return {**contract, **signed, **CONTRACT_STATES[told.status]}


def _charged(told: Situation) -> Fields:
    """It is only ever accepted: the money is taken later."""
    if told.status in CHARGE_REFUSALS:
        return _failure(CHARGE_REFUSALS[told.status])
    if told.status is not Status.PENDING:
        raise NotApplicable("the answer to a charge is only that it was accepted")
    return {"result_code": "SUCCESS"}


def notice(told: Situation) -> Fields:
    """签约、解约结果通知, which names the merchant and not the app."""
    if told.account is Account.OTHER_APP:
        raise NotApplicable("the notification names no app")
    kinds = {Verb.SIGN: "ADD", Verb.END_AGREEMENT: "DELETE"}
    if told.status is Status.EMPTY:
        return {}
    unknown = told.status is Status.UNRECOGNISED
    return {
        "result_code": "SUCCESS",
        "contract_code": told.reference,
        "plan_id": PLAN,
        "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        "change_type": "LEVITATE" if unknown else kinds[told.verb],
        "operate_time": f"2026-01-15 12:00:{told.event % 60:02d}",
        "contract_id": CONTRACT,
        "request_serial": "1695",
        "bank_type": "OTHERS",
    }


def _failure(code: str) -> Fields:
    return {"result_code": "FAIL", "err_code": code, "err_code_des": "原因"}
