"""The ledger of what a pooler promises: which promises there are, what taught them, and which tests show them."""
