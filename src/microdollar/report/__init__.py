"""Results and ledger rows as tables, figures and one offline page."""
