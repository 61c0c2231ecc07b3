"""The steps of the product, one folder each: collect, publish, compose, address, deliver, track."""
