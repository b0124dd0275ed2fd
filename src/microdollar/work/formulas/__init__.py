"""Operations and bytes of whole computations: one module a family, sources in the docstrings."""
