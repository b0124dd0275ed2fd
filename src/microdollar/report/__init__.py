"""Results and ledger rows as tables, figures and one offline page."""

from microdollar.report.page import write_report
from microdollar.report.table import comparison_table

__all__ = ["comparison_table", "write_report"]
