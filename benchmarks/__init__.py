"""How fast Legwork is beside its peers, and as its work grows; also a Django app, with the kinds that are measured."""
