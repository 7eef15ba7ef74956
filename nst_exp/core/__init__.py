"""The method, in torch alone: encoder, statistics, terms, objective, optimizers, metrics."""
