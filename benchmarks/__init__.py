"""Measures Legwork beside its peers and under growing load. Also a Django app, with the kinds that are measured."""
