"""Synthetic data that stand for public ones which many examples read.

Each table is drawn with a fixed seed from simple rules of this module: it has the columns, the
types and plausible relations of the public table, and none of its rows. Nothing can be learned
from it.
"""

import csv
import io
import math
from collections.abc import Callable, Iterator
from random import Random

from emulator import stand_in_digits

CLIENTS, PATIENTS, PASSENGERS = 3000, 303, 891
"""Rows of the tables."""

_SEED = 20240229

Cell = str | int | float


def stand_in(address: str) -> bytes | None:
    """The content of the file that stands for `HOST/PATH`; None where there is none."""
    if (table := _TABLES.get(address)) is not None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table(Random(_SEED)))
        return text.getvalue().encode()
    make = _FILES.get(address)
    return make() if make else None


def below(address: str) -> list[str]:
    """The addresses of the files in a folder `HOST/PATH`."""
    folder = address.rstrip("/") + "/"
    return [known for known in (*_TABLES, *_FILES) if known.startswith(folder)]


def _credit_card(draw: Random) -> Iterator[list[Cell]]:
    """Clients of a bank, six months of bills and payments each, and whether they defaulted."""
    months = range(1, 7)
    names = ["LIMIT_BAL", "SEX", "EDUCATION", "MARRIAGE", "AGE"]
    names += [f"PAY_{month}" for month in (0, 2, 3, 4, 5, 6)]
    names += [f"BILL_AMT{month}" for month in months] + [f"PAY_AMT{month}" for month in months]
    yield ["", *(f"X{number}" for number in range(1, len(names) + 1)), "Y"]
    yield ["ID", *names, "default payment next month"]
    for number in range(1, CLIENTS + 1):
        limit = 10_000 * max(1, min(80, round(draw.lognormvariate(2.6, 0.8))))
        person = [draw.choices((1, 2), (4, 6))[0], draw.choices((1, 2, 3, 4), (35, 47, 16, 2))[0]]
        person += [draw.choices((1, 2, 3), (45, 53, 2))[0], round(draw.triangular(21, 75, 30))]
        trouble = draw.gauss(0.3 - limit / 400_000, 1)
        late = [max(-2, min(8, round(trouble + draw.gauss(-0.5, 0.6)))) for _ in months]
        used = 1 / (1 + math.exp(-draw.gauss(trouble, 1)))
        bills = [round(limit * used * draw.uniform(0.85, 1.1)) for _ in months]
        paid = [round(max(0, bill * draw.uniform(0.02, 0.3) - 400 * trouble)) for bill in bills]
        risk = 1 / (1 + math.exp(1.9 - 0.9 * max(late[0], 0) - 0.3 * max(late[1], 0)))
        yield [number, limit, *person, *late, *bills, *paid, int(draw.random() < risk)]


def _heart(draw: Random) -> Iterator[list[Cell]]:
    """Patients: thirteen findings, and whether the heart is ill."""
    yield [
        *("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg"),
        *("thalach", "exang", "oldpeak", "slope", "ca", "thal", "target"),
    ]
    for _ in range(PATIENTS):
        age = round(min(77, max(29, draw.gauss(54, 9))))
        sex, pain = int(draw.random() < 0.68), draw.choices((0, 1, 2, 3, 4), (8, 17, 28, 44, 3))[0]
        pressure, fat = round(draw.gauss(95 + 0.68 * age, 17)), round(draw.gauss(245, 50))
        pulse = round(min(202, max(71, draw.gauss(205 - age, 20))))
        angina = int(draw.random() < (0.5 if pain >= 3 else 0.15))
        dip = round(max(0.0, draw.gauss(0.6 + 1.1 * angina, 0.9)), 1)
        vessels = draw.choices((0, 1, 2, 3), (58, 22, 13, 7))[0]
        thal = draw.choices(("normal", "reversible", "fixed"), (55, 39, 6))[0]
        score = 0.9 * vessels + 0.9 * dip + angina + 1.4 * (thal != "normal") + 0.4 * sex
        ill = int(draw.random() < 1 / (1 + math.exp(3.2 - score)))
        sugar, wave, slope = int(draw.random() < 0.15), draw.choice((0, 2)), 1 + int(dip > 0.8)
        row: list[Cell] = [age, sex, pain, pressure, fat, sugar, wave, pulse, angina, dip]
        yield [*row, slope, vessels, thal, ill]


def _titanic(draw: Random) -> Iterator[list[Cell]]:
    """Passengers of a ship: class, age, family and fare, and who survived."""
    yield [
        *("PassengerId", "Survived", "Pclass", "Name", "Sex", "Age"),
        *("SibSp", "Parch", "Ticket", "Fare", "Cabin", "Embarked"),
    ]
    for number in range(1, PASSENGERS + 1):
        level = draw.choices((1, 2, 3), (24, 21, 55))[0]
        sex = draw.choices(("male", "female"), (65, 35))[0]
        age: Cell = "" if draw.random() < 0.2 else round(draw.triangular(1, 75, 44 - 6 * level))
        siblings = draw.choices((0, 1, 2, 3), (68, 24, 5, 3))[0]
        parents = draw.choices((0, 1, 2), (76, 14, 10))[0]
        fare = round(draw.lognormvariate(5 - level, 0.4) * (1 + 0.5 * (siblings + parents)) + 4, 4)
        chance = (0.95, 0.9, 0.5)[level - 1] if sex == "female" else (0.37, 0.16, 0.14)[level - 1]
        title = "Mr." if sex == "male" else "Mrs." if siblings else "Miss."
        cabin = f"{draw.choice('ABCDE')}{draw.randrange(1, 120)}" if level == 1 else ""
        ticket, port = draw.randrange(1000, 400_000), draw.choices("SCQ", (72, 19, 9))[0]
        survived, name = int(draw.random() < chance), f"Passenger {number}, {title}"
        row: list[Cell] = [number, survived, level, name, sex, age, siblings, parents]
        yield [*row, ticket, fare, cabin, port]


_EXAMPLES = "azuremlexamples.blob.core.windows.net/datasets"
_SAMPLES = "azuremlexampledata.blob.core.windows.net/data"
_TABLES: dict[str, Callable[[Random], Iterator[list[Cell]]]] = {
    f"{_EXAMPLES}/credit_card/default_of_credit_card_clients.csv": _credit_card,
    f"{_EXAMPLES}/credit_card/default of credit card clients.csv": _credit_card,
    f"{_SAMPLES}/heart-disease-uci/data/heart.csv": _heart,
    f"{_EXAMPLES}/titanic.csv": _titanic,
    f"{_SAMPLES}/titanic.csv": _titanic,
    "dprepdata.blob.core.windows.net/demo/Titanic.csv": _titanic,
}
_FILES: dict[str, Callable[[], bytes]] = {
    **stand_in_digits.files(f"{_EXAMPLES}/mnist"),
    **stand_in_digits.files("azureopendatastorage.blob.core.windows.net/mnist"),
}
