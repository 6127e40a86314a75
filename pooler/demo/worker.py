"""The demo's legacy system: a loans book whose client takes three seconds to log in and has two licences.

It stands for the programs that one puts a pool in front of, and for how to write a worker: newline-delimited JSON-RPC
on standard input and output, standard library only. `python -m pooler.demo.worker` runs it.

A licence is a locked file in LOANS_LICENCE_FOLDER: the lock ends with the process, however that ends. The book is made
up, and the same in every process; only notes are kept, in a file beside the licences.
"""

import fcntl
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, TextIO

LOGIN_SECONDS = 3.0
SCREEN_SECONDS = 0.04
"""What each question takes: the old system fills in a screen and reads it back."""
LICENCES = 2
FIRST_LOAN, LAST_LOAN = 1001, 1480
CLOSING_DAY = date(2026, 10, 31)
"""The book's last day: the sample does not change from one day to the next."""

PURPOSES = ("machinery", "vehicle", "property", "working capital", "renovation", "shop fittings")
HOLDERS = (
    "Adler Coffee", "Bakery Lind", "Castell Foods", "Dunmore Tea Rooms", "Espresso Nord", "Fjord Catering",
    "Gruber & Sons", "Harbour Roasters", "Isola Gelato", "Jansen Hotels", "Kowalski Sweets", "Lakeside Inns",
)  # fmt: skip

Params = dict[str, Any]


class Refusal(Exception):
    """What the caller is told instead of a result; `kind` is one of the worker protocol's."""

    def __init__(self, message: str, kind: str = "USER_ERROR") -> None:
        super().__init__(message)
        self.error = {"code": -32000, "message": message, "data": {"kind": kind}}


class Loan:
    """One loan, worked out from its number alone."""

    def __init__(self, number: str) -> None:
        digits = number.removeprefix("L-")
        if not (number.startswith("L-") and digits.isdecimal() and FIRST_LOAN <= int(digits) <= LAST_LOAN):
            raise Refusal(f"there is no loan {number[:40]!r}: numbers run from L-{FIRST_LOAN} to L-{LAST_LOAN}")
        chance = random.Random(int(digits))  # noqa: S311 - a made-up book, no secret
        self.number = number
        self.holder = chance.choice(HOLDERS)
        self.purpose = chance.choice(PURPOSES)
        self.principal = Decimal(chance.randrange(8, 400)) * 1000
        self.rate = Decimal(chance.randrange(290, 790)) / 100
        self.months = chance.choice((36, 48, 60, 84, 120))
        self.opened = CLOSING_DAY.replace(day=1) - timedelta(days=30 * chance.randrange(6, self.months - 6))

    def bookings(self) -> list[list[str]]:
        """Payout, then interest and repayment month by month, each with the balance after it."""
        balance = self.principal
        rows = [[self.opened.isoformat(), "payout", f"{balance:.2f}", f"{balance:.2f}"]]
        repayment = _cents(self.principal / self.months)
        day = _next_month(self.opened)
        while day <= CLOSING_DAY and balance > 0:
            interest = _cents(balance * self.rate / 1200)
            paid = min(repayment + interest, balance + interest)
            rows.append([day.isoformat(), "interest", f"{interest:.2f}", f"{balance + interest:.2f}"])
            balance += interest - paid
            rows.append([day.isoformat(), "repayment", f"{-paid:.2f}", f"{balance:.2f}"])
            day = _next_month(day)
        return rows


class LoansClient:
    """A login to the loans system, and what its user has left on the screen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.licence: TextIO | None = None
        self.on_screen: str | None = None
        self.methods: dict[str, Callable[[Params], Any]] = {
            "open": self.open,
            "ping": self.ping,
            "reset": self.reset,
            "close": self.ping,
            "balance": self.balance,
            "statement": self.statement,
            "note": self.note,
            "notes": self.notes,
        }

    # The protocol's own methods

    def open(self, params: Params) -> Any:
        self.licence = _take_licence(self.folder)
        print("loans system 4.2: logging in", file=sys.stderr, flush=True)
        time.sleep(LOGIN_SECONDS)
        return {"protocol": 1, "methods": ["ping", "reset"]}

    def ping(self, params: Params) -> Any:
        return {}

    def reset(self, params: Params) -> Any:
        self.on_screen = None
        return {}

    # What it can be asked

    def balance(self, params: Params) -> Any:
        loan = self._show(params)
        return {
            "loan": loan.number,
            "holder": loan.holder,
            "purpose": loan.purpose,
            "principal": f"{loan.principal:.2f}",
            "rate_percent": f"{loan.rate:.2f}",
            "opened_on": loan.opened.isoformat(),
            "balance": loan.bookings()[-1][3],
            "currency": "EUR",
            "as_of": CLOSING_DAY.isoformat(),
        }

    def statement(self, params: Params) -> Any:
        rows = self._show(params).bookings()
        return {"resultType": "page", "columns": ["day", "booking", "amount", "balance"], "rows": rows, "more": False}

    def note(self, params: Params) -> Any:
        loan = self._show(params)
        with (self.folder / "loan-notes").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps({"loan": loan.number, "text": params["text"]}) + "\n")
        return {"rows_affected": 1}

    def notes(self, params: Params) -> Any:
        loan = self._show(params)
        path = self.folder / "loan-notes"
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [note["text"] for note in map(json.loads, lines) if note["loan"] == loan.number]
        return {"resultType": "page", "columns": ["text"], "rows": [[text] for text in kept], "more": False}

    def _show(self, params: Params) -> Loan:
        time.sleep(SCREEN_SECONDS)
        loan = Loan(params["loan"])
        self.on_screen = loan.number
        return loan


def _take_licence(folder: Path) -> TextIO:
    for number in range(1, LICENCES + 1):
        file = (folder / f"loans-licence-{number}").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            return file
    raise Refusal(f"all {LICENCES} licences of the loans system are in use", kind="LIMIT")


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def _answer(client: LoansClient, request: dict[str, Any]) -> dict[str, Any]:
    method = client.methods.get(request["method"])
    if method is None:
        return {"error": {"code": -32601, "message": f"the loans system has no method {request['method']!r}"}}
    try:
        return {"result": method(request.get("params", {}))}
    except Refusal as refusal:
        return {"error": refusal.error}


def main() -> None:
    """Answers requests until its input ends."""
    client = LoansClient(Path(os.environ.get("LOANS_LICENCE_FOLDER", tempfile.gettempdir())))
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **_answer(client, request)}), flush=True)


if __name__ == "__main__":
    main()
