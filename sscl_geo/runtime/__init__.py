"""How work is run: units, ledger, executors and gangs."""
