def curves_of(content):
    pass
