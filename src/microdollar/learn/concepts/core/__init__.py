"""The concept model in numpy: importing it imports no torch.

Its products are small. Where numpy's BLAS has several threads, they mostly wait for each other:
set OPENBLAS_NUM_THREADS=1 before numpy is imported.
"""
