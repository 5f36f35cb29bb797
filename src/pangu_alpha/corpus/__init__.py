"""Web pages and files of text → clean training text without duplicates, and a ledger of every document."""
