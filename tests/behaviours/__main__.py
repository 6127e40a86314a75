"""`python -m tests.behaviours` writes the page of the ledger anew; with numbers, it prints those promises' tests."""

import sys

from tests.behaviours.ledger import PAGE, page, shown


def main(numbers: list[int]) -> None:
    """Prints or writes."""
    tests = shown()
    if not numbers:
        PAGE.write_text(page(tests), "utf-8")
    for test in dict.fromkeys(test for number in numbers for test in tests.get(number, [])):
        print(test)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]])
