"""An app of kinds that only tests want; stacks that run with its settings know them."""
