"""Where prediction, measurement and ledger meet."""
