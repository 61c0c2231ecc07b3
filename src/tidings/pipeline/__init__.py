"""The story of the product, one module a step: collect, publish, compose, address, deliver, track."""
